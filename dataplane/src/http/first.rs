//! What a listener asks about a request before a rule is looked for (Gateway API `Listener.filters`, GEP-5224).

use http::request::Parts;
use portcullis_router::Sni;

use super::client::Client;
use super::conn::Conn;
use super::downstream::{Downstream, Peeking};
use super::head::{Body, Facts};
use super::headers::Seen;
use super::local::Failure;
use super::log::Log;
use super::request::View;
use crate::policy::{self, Admitted, ExternalProgram, Lent, Refusal, Tap};
use crate::program::Program;

/// Why a request does not get as far as a rule.
pub(super) enum Stopped {
    Denied(Box<Refusal>),
    /// What a look for its rule would have found out, too.
    Failed(Failure),
}

/// Has the services of the request's listener asked, in order, and makes of the head what they made of the request: a
/// rule is looked for by that. Which listener it is stays as it is, since no service can set a host. A preflight is
/// asked about like any other request ("run for every request on that listener").
pub(super) async fn admit(
    conn: &Conn,
    program: &Program,
    down: &mut Downstream,
    head: &mut Parts,
    facts: &mut Facts,
    client: &Client,
    log: &Log,
) -> Result<Admitted, Stopped> {
    let mut scratch = String::new();
    let view = View::of(head, facts, &mut scratch).map_err(Stopped::Failed)?;
    let services = services(conn, program, view.host);
    if services.is_empty() {
        return Ok(Admitted::default());
    }
    let admitted = {
        let mut peeking = Peeking::new(down, facts);
        let tap = (facts.body != Body::None).then(|| Tap::new(&mut peeking));
        let asked = view.asked(conn, program, head, client, tap.as_ref().map(|tap| tap as &dyn Lent), log.started());
        policy::admit_first(services, asked).await.map_err(Stopped::Denied)?
    };
    if let Some(edits) = &admitted.edits {
        edits.apply(head, facts.seen.may_have());
        facts.seen = facts.seen.or(Seen::of(&head.headers));
    }
    Ok(admitted)
}

/// None where no rule will be found whatever is asked.
fn services<'p>(conn: &Conn, program: &'p Program, host: &str) -> &'p [std::sync::Arc<ExternalProgram>] {
    let info = &conn.info;
    let sni = info.tls.as_ref().map(|tls| Sni { name: tls.sni.as_deref() });
    match program.router.listener(info.bind, sni, host) {
        Some(listener) if program.complete => program.asked_first(&listener.key),
        _ => &[],
    }
}
