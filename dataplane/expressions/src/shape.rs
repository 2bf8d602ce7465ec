//! What an expression looks at, read off its tree: only that is made into values for it, and what it must not do is
//! refused before it ever runs.

use std::collections::BTreeSet;

use cel::IdedExpr;
use cel::common::ast::{CallExpr, EntryExpr, Expr, LiteralValue, SelectExpr};

use crate::InvalidExpression;

const VARIABLES: [&str; 3] = ["request", "source", "auth"];
const REQUEST: [&str; 7] = ["method", "scheme", "host", "path", "protocol", "headers", "query"];
const SOURCE: [&str; 1] = ["address"];
const AUTH: [&str; 6] = ["method", "subject", "username", "claims", "apiKey", "certificate"];
/// Most macros that walk a list or map.
const MAX_COMPREHENSIONS: usize = 8;

/// The fields of `request` and `auth` that are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Shape {
    pub(crate) request: BTreeSet<&'static str>,
    pub(crate) auth: BTreeSet<&'static str>,
    pub(crate) source: bool,
}

impl Shape {
    pub(crate) fn of(expression: &IdedExpr) -> Result<Self, InvalidExpression> {
        let mut walk = Walk { shape: Self::default(), bound: Vec::new(), comprehensions: 0, depth: 0 };
        walk.expression(&expression.expr)?;
        Ok(walk.shape)
    }
}

struct Walk {
    shape: Shape,
    /// Names that macros have declared.
    bound: Vec<String>,
    comprehensions: usize,
    depth: usize,
}

impl Walk {
    fn expression(&mut self, expression: &Expr) -> Result<(), InvalidExpression> {
        match expression {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.whole(name),
            Expr::Select(select) => self.select(select),
            Expr::Call(call) => self.call(call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.expression(&element.expr)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| self.entry(&entry.expr)),
            Expr::Struct(_) => Err(InvalidExpression::Unsupported("makes a message")),
            Expr::Comprehension(comprehension) => {
                self.comprehensions += 1;
                if self.comprehensions > MAX_COMPREHENSIONS {
                    return Err(InvalidExpression::ManyMacros);
                }
                self.expression(&comprehension.iter_range.expr)?;
                self.depth += 1;
                if self.depth > 1 {
                    return Err(InvalidExpression::NestedMacros);
                }
                let before = self.bound.len();
                self.bound.push(comprehension.iter_var.clone());
                self.bound.extend(comprehension.iter_var2.clone());
                self.bound.push(comprehension.accu_var.clone());
                for part in [
                    &comprehension.accu_init,
                    &comprehension.loop_cond,
                    &comprehension.loop_step,
                    &comprehension.result,
                ] {
                    self.expression(&part.expr)?;
                }
                self.bound.truncate(before);
                self.depth -= 1;
                Ok(())
            }
        }
    }

    fn entry(&mut self, entry: &EntryExpr) -> Result<(), InvalidExpression> {
        match entry {
            EntryExpr::MapEntry(entry) => {
                self.expression(&entry.key.expr)?;
                self.expression(&entry.value.expr)
            }
            EntryExpr::StructField(_) => Err(InvalidExpression::Unsupported("makes a message")),
        }
    }

    fn call(&mut self, call: &CallExpr) -> Result<(), InvalidExpression> {
        if let Some(target) = &call.target {
            self.expression(&target.expr)?;
        }
        if call.func_name == "matches" {
            let pattern = call.args.last().map(|argument| &argument.expr);
            let Some(Expr::Literal(LiteralValue::String(pattern))) = pattern else {
                return Err(InvalidExpression::Unsupported("takes the pattern of matches() from the request"));
            };
            regex::Regex::new(pattern.inner()).map_err(|_| InvalidExpression::Pattern)?;
        }
        call.args.iter().try_for_each(|argument| self.expression(&argument.expr))
    }

    fn select(&mut self, select: &SelectExpr) -> Result<(), InvalidExpression> {
        self.refuse_pointless_test(select)?;
        let Expr::Ident(variable) = &select.operand.expr else {
            return self.expression(&select.operand.expr);
        };
        if self.bound.contains(variable) {
            return Ok(());
        }
        let field = |fields: &'static [&'static str]| -> Result<&'static str, InvalidExpression> {
            let known = fields.iter().find(|field| **field == select.field);
            known.copied().ok_or_else(|| InvalidExpression::Unknown {
                name: format!("{variable}.{}", select.field),
                known: fields.join(", "),
            })
        };
        match variable.as_str() {
            "request" => self.shape.request.insert(field(&REQUEST)?),
            "auth" => self.shape.auth.insert(field(&AUTH)?),
            "source" => {
                field(&SOURCE)?;
                self.shape.source = true;
                true
            }
            _ => return self.whole(variable),
        };
        Ok(())
    }

    /// Every field is there, if empty. A rule that allows whoever `has(auth.apiKey)` would allow everybody.
    fn refuse_pointless_test(&self, select: &SelectExpr) -> Result<(), InvalidExpression> {
        let name = match &select.operand.expr {
            _ if !select.test => return Ok(()),
            Expr::Ident(variable) => variable.clone(),
            Expr::Select(outer) => match &outer.operand.expr {
                Expr::Ident(variable) if ["apiKey", "certificate"].contains(&outer.field.as_str()) => {
                    format!("{variable}.{}", outer.field)
                }
                _ => return Ok(()),
            },
            _ => return Ok(()),
        };
        let variable = name.split('.').next().unwrap_or_default();
        if !VARIABLES.contains(&variable) || self.bound.iter().any(|bound| bound == variable) {
            return Ok(());
        }
        Err(InvalidExpression::AlwaysThere(format!("{name}.{}", select.field)))
    }

    /// A variable as a whole.
    fn whole(&mut self, name: &str) -> Result<(), InvalidExpression> {
        match name {
            name if self.bound.iter().any(|bound| bound == name) => {}
            "request" => self.shape.request.extend(REQUEST),
            "auth" => self.shape.auth.extend(AUTH),
            "source" => self.shape.source = true,
            _ => return Err(InvalidExpression::Unknown { name: name.to_owned(), known: VARIABLES.join(", ") }),
        }
        Ok(())
    }
}
