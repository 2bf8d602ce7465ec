//! A compiled expression.

use std::sync::{Arc, LazyLock};

use cel::{Context, Env, Value};

use crate::shape::Shape;
use crate::{Facts, values};

/// Longest source in bytes.
pub const MAX_SOURCE: usize = 4096;

/// CEL's standard library and its strings extension.
static ENVIRONMENT: LazyLock<Arc<Env>> = LazyLock::new(|| {
    let mut environment = Env::stdlib();
    // Cannot fail: nothing else has declared these names.
    let _ = environment.add_extension(cel::extensions::strings);
    Arc::new(environment)
});

static LIBRARY: LazyLock<Context<'static, 'static>> = LazyLock::new(|| Context::with_env(Arc::clone(&ENVIRONMENT)));

/// Cheap to clone; compares by its source.
#[derive(Clone)]
pub struct Program(Arc<Inner>);

struct Inner {
    source: Box<str>,
    program: cel::Program,
    shape: Shape,
}

/// Why a source is no expression of ours.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidExpression {
    #[error("is longer than {MAX_SOURCE} bytes; shorten it")]
    TooLong,
    #[error("is no CEL expression: {0}")]
    Syntax(String),
    #[error("{name} is not known; there are {known}")]
    Unknown { name: String, known: String },
    #[error("has({0}) is always true; what is not there is empty, so compare it with \"\" or ask for its size()")]
    AlwaysThere(String),
    #[error("{0}, which expressions here may not")]
    Unsupported(&'static str),
    #[error("uses a macro inside of another one; expressions are bounded in cost, so split it")]
    NestedMacros,
    #[error("uses too many macros; expressions are bounded in cost, so split it")]
    ManyMacros,
    #[error("has an invalid pattern in matches(); use RE2's syntax without look-around")]
    Pattern,
}

/// An evaluation that came to nothing: a value that is not there, or not of the type that is asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct EvaluationFailed(String);

impl Program {
    /// # Errors
    /// [`InvalidExpression`] for what is no CEL, names nothing that is known, or could cost too much.
    pub fn compile(source: &str) -> Result<Self, InvalidExpression> {
        if source.len() > MAX_SOURCE {
            return Err(InvalidExpression::TooLong);
        }
        let syntax = |error: &dyn ToString| {
            // The first line says what and where; the rest draws it.
            InvalidExpression::Syntax(error.to_string().lines().next().unwrap_or_default().to_owned())
        };
        let program = ENVIRONMENT.compile(source).map_err(|error| syntax(&error))?;
        let shape = Shape::of(program.expression())?;
        Ok(Self(Arc::new(Inner { source: source.into(), program, shape })))
    }

    pub fn source(&self) -> &str {
        &self.0.source
    }

    /// Whether it looks at who the client is, so that it can only run after authentication.
    pub fn uses_identity(&self) -> bool {
        !self.0.shape.auth.is_empty()
    }

    /// # Errors
    /// [`EvaluationFailed`] if it does not come to a boolean.
    pub fn bool(&self, facts: &Facts<'_>) -> Result<bool, EvaluationFailed> {
        match self.value(facts)? {
            Value::Bool(value) => Ok(value),
            other => Err(unexpected("a boolean", &other)),
        }
    }

    /// # Errors
    /// [`EvaluationFailed`] if it does not come to an integer that an `i64` holds.
    pub fn integer(&self, facts: &Facts<'_>) -> Result<i64, EvaluationFailed> {
        match self.value(facts)? {
            Value::Int(value) => Ok(value),
            Value::UInt(value) => i64::try_from(value).map_err(|_| EvaluationFailed(format!("{value} is too large"))),
            other => Err(unexpected("an integer", &other)),
        }
    }

    /// Strings as they are; booleans and numbers as they are written; lists of these joined by `,`.
    ///
    /// # Errors
    /// [`EvaluationFailed`] for anything else.
    pub fn text(&self, facts: &Facts<'_>) -> Result<String, EvaluationFailed> {
        match self.value(facts)? {
            Value::List(list) => Ok(list.iter().map(scalar).collect::<Result<Vec<_>, _>>()?.join(",")),
            other => scalar(&other),
        }
    }

    fn value(&self, facts: &Facts<'_>) -> Result<Value, EvaluationFailed> {
        let Inner { program, shape, .. } = &*self.0;
        let mut scope = LIBRARY.new_inner_scope();
        if !shape.request.is_empty() {
            scope.add_variable_from_value("request", values::request(shape, facts));
        }
        if shape.source {
            scope.add_variable_from_value("source", values::source(facts));
        }
        if !shape.auth.is_empty() {
            scope.add_variable_from_value("auth", values::auth(shape, facts.identity));
        }
        program.execute(&scope).map_err(|error| EvaluationFailed(error.to_string()))
    }
}

impl std::fmt::Debug for Program {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Program").field(&self.0.source).finish()
    }
}

impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.0.source == other.0.source
    }
}

impl Eq for Program {}

fn scalar(value: &Value) -> Result<String, EvaluationFailed> {
    match value {
        Value::String(text) => Ok(text.to_string()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Int(number) => Ok(number.to_string()),
        Value::UInt(number) => Ok(number.to_string()),
        Value::Float(number) => Ok(number.to_string()),
        other => Err(unexpected("a string", other)),
    }
}

/// Says of which type the value is, never the value: it may come from a credential.
fn unexpected(expected: &str, value: &Value) -> EvaluationFailed {
    EvaluationFailed(format!("comes to {:?} instead of {expected}", value.type_of()))
}

#[cfg(test)]
mod tests;
