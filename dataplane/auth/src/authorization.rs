//! Whether somebody may. Order-free: any Deny that matches wins, then any Allow, then the default.

use portcullis_expressions::{Facts, Identity, Program};
use portcullis_ir::{Authorization, AuthorizationAction, AuthorizationRule, ClaimMatch};
use serde_json::Value;

#[derive(Debug)]
pub struct Authorizer {
    rules: Vec<Rule>,
    default: AuthorizationAction,
}

#[derive(Debug)]
struct Rule {
    config: AuthorizationRule,
    expressions: Vec<Program>,
}

/// What was decided, and by which rule; none: by the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling<'a> {
    pub action: AuthorizationAction,
    pub rule: Option<&'a str>,
    /// Scopes that would have let the client pass.
    pub missing_scopes: &'a [Box<str>],
}

impl Authorizer {
    /// # Errors
    /// Which expression does not compile, and why.
    pub fn new(authorization: &Authorization) -> Result<Self, String> {
        let rule = |config: &AuthorizationRule| {
            let compile = |expression: &portcullis_ir::Expression| {
                Program::compile(&expression.0).map_err(|error| format!("authorization rule {}: {error}", config.name))
            };
            let expressions = config.expressions.iter().map(compile).collect::<Result<_, _>>()?;
            Ok(Rule { config: config.clone(), expressions })
        };
        let rules = authorization.rules.iter().map(rule).collect::<Result<_, String>>()?;
        Ok(Self { rules, default: authorization.default })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.rules.iter().map(|rule| &*rule.config.name)
    }

    pub fn rule(&self, facts: &Facts<'_>) -> Ruling<'_> {
        let of = |action| self.rules.iter().filter(move |rule| rule.config.action == action);
        if let Some(rule) = of(AuthorizationAction::Deny).find(|rule| rule.matches(facts)) {
            return Ruling { action: AuthorizationAction::Deny, rule: Some(&rule.config.name), missing_scopes: &[] };
        }
        if let Some(rule) = of(AuthorizationAction::Allow).find(|rule| rule.matches(facts)) {
            return Ruling { action: AuthorizationAction::Allow, rule: Some(&rule.config.name), missing_scopes: &[] };
        }
        let missing = of(AuthorizationAction::Allow).find(|rule| !rule.has_scopes(facts.identity));
        let missing_scopes = missing.map_or(&[][..], |rule| &rule.config.scopes);
        Ruling { action: self.default, rule: None, missing_scopes }
    }
}

impl Rule {
    fn matches(&self, facts: &Facts<'_>) -> bool {
        let AuthorizationRule { name: _, action, claims, scopes: _, client_cidrs, methods, paths, expressions: _ } =
            &self.config;
        let client = facts.client.to_canonical();
        (methods.is_empty() || methods.contains(facts.method))
            && (paths.is_empty() || paths.iter().any(|path| path.matches(facts.path)))
            && (client_cidrs.is_empty() || client_cidrs.iter().any(|network| network.contains(&client)))
            && claims.iter().all(|claim| claim_matches(claim, facts.identity))
            && self.has_scopes(facts.identity)
            // What cannot be evaluated never opens: it fulfils a Deny, and no Allow.
            && self.expressions.iter().all(|program| {
                program.bool(facts).unwrap_or(*action == AuthorizationAction::Deny)
            })
    }

    fn has_scopes(&self, identity: Option<&Identity>) -> bool {
        self.config.scopes.iter().all(|scope| identity.is_some_and(|identity| has_scope(identity, scope)))
    }
}

/// A list of names with spaces between them (RFC 8693, 4.2), or a JSON list.
fn has_scope(identity: &Identity, scope: &str) -> bool {
    ["scope", "scp"].into_iter().filter_map(|name| identity.claims.get(name)).any(|claim| match claim {
        Value::String(list) => list.split(' ').any(|one| one == scope),
        Value::Array(list) => list.iter().any(|one| one.as_str() == Some(scope)),
        _ => false,
    })
}

fn claim_matches(wanted: &ClaimMatch, identity: Option<&Identity>) -> bool {
    let Some(claim) = identity.and_then(|identity| identity.claim(&wanted.name)) else { return false };
    let is_one = |value: &Value| {
        wanted.values.iter().any(|text| match value {
            Value::String(own) => **text == **own,
            Value::Bool(own) => **text == *own.to_string(),
            Value::Number(own) => **text == *own.to_string(),
            _ => false,
        })
    };
    match claim {
        _ if wanted.values.is_empty() => true,
        Value::Array(several) => several.iter().any(is_one),
        one => is_one(one),
    }
}
