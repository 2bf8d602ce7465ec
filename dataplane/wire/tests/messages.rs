//! What data planes and servers say to each other, through its bytes.
#![allow(clippy::unwrap_used)]

use portcullis_ir::{Digest, GatewayKey, IssuerKey, ListenerKey, ResourceKey, RouteKey};
use portcullis_wire::{
    Ack, ClientMessage, ConfigStep, DeltaHead, DeltaPart, Digests, Encoded, ErrorClass, Figures, Health, Hello,
    InvalidMessage, IssueReply, IssueRequest, LATENCY_BUCKETS, Lane, Limits, LiveStep, Nack, Observe, PodReport,
    PodState, Rejection, RejectionCode, Report, ServerMessage, State, Version, Wanted, proto,
};
use prost::Message;

const VERSION: Version = Version { epoch: u64::MAX, number: 42 };

fn held() -> State {
    let digests = Digests { config: Digest::from_bits(u128::MAX), live: Digest::from_bits(1 << 64) };
    State { version: VERSION, digests }
}

fn route() -> ResourceKey {
    ResourceKey::Route(RouteKey::http("default", "shop", 3))
}

fn rejection() -> Rejection {
    let key = ListenerKey::new(GatewayKey::new("default", "edge"), "http");
    let message = "port 80 is taken; free it".to_owned();
    Rejection { key: Some(ResourceKey::Listener(key)), code: RejectionCode::Unbindable, message }
}

fn wanted() -> Wanted {
    Wanted { issuers: ["https://a.example/keys", "https://b.example issuer"].map(|one| IssuerKey(one.into())).into() }
}

fn delta() -> ServerMessage {
    let config =
        Some(ConfigStep { from: 41, to: 42, digest: Digest::from_bits(9), from_digest: Some(Digest::from_bits(7)) });
    let live = Some(LiveStep { from: Digest::EMPTY, to: Digest::from_bits(8) });
    let head = DeltaHead { epoch: 1, config, live, parts: 3 };
    let (upserts, removals) = (vec![Encoded(vec![1, 2])], vec![Encoded(vec![3])]);
    ServerMessage::Delta(DeltaPart { head, part: 2, lane: Lane::Live, upserts, removals })
}

#[test]
fn what_a_data_plane_says_arrives_as_it_was_said() {
    let mut latency = [0; LATENCY_BUCKETS];
    latency[10] = 5;
    let gateway_errors = vec![(ErrorClass::Timeout, 2), (ErrorClass::NoRoute, 1)];
    let figures = Figures { requests: 7, backend_errors: 1, gateway_errors, latency };
    let rest = Figures { latency: [1; LATENCY_BUCKETS], ..Figures::default() };
    for message in [
        ClientMessage::Hello(Hello { node: "pod-1".into(), gateway: GatewayKey::new("default", "edge"), held: None }),
        ClientMessage::Hello(Hello {
            node: "pod-1".into(),
            gateway: GatewayKey::new("default", "edge"),
            held: Some(held()),
        }),
        ClientMessage::Ack(Ack { held: held(), warnings: vec![rejection()] }),
        ClientMessage::Nack(Nack {
            version: Some(VERSION),
            held: Some(held()),
            rejected: vec![rejection(), Rejection { key: None, ..rejection() }],
            warnings: Vec::new(),
            message: String::new(),
        }),
        ClientMessage::Nack(Nack {
            version: None,
            held: None,
            rejected: Vec::new(),
            warnings: Vec::new(),
            message: "the message does not parse".into(),
        }),
        ClientMessage::Health(Health {
            version: VERSION,
            interval_milliseconds: 10_000,
            resources: vec![(route(), figures)],
            rest,
        }),
        ClientMessage::Wanted(wanted()),
    ] {
        assert_eq!(ClientMessage::decode(&message.encode_to_vec()), Ok(message));
    }
}

#[test]
fn what_replicas_and_new_data_planes_say_arrives_as_it_was_said() {
    let gateway = GatewayKey::new("default", "edge");
    let request = IssueRequest { gateway: gateway.clone(), csr: vec![0x30, 0x82] };
    assert_eq!(IssueRequest::decode(&request.encode_to_vec()), Ok(request));
    let reply = IssueReply { chain: vec![vec![1], vec![2, 3]] };
    assert_eq!(IssueReply::decode(&reply.encode_to_vec()), Ok(reply));
    let said = PodState {
        held: Some(held()),
        answered: Some(held().digests),
        rejected: vec![rejection()],
        warnings: vec![rejection()],
        refused: Some("too many".into()),
        connected: true,
    };
    for state in [None, Some(PodState::default()), Some(said)] {
        let report = Report::Pod(PodReport { gateway: gateway.clone(), pod: "pod-1".into(), state });
        assert_eq!(Report::decode(&report.encode_to_vec()), Ok(report));
    }
    let wanted = Report::Wanted(wanted());
    assert_eq!(Report::decode(&wanted.encode_to_vec()), Ok(wanted));
    let empty = IssueRequest { gateway, csr: Vec::new() };
    assert!(matches!(IssueRequest::decode(&empty.encode_to_vec()), Err(InvalidMessage::Field(_))));
}

#[test]
fn what_a_server_says_arrives_as_it_was_said() {
    let observe = ServerMessage::Observe(Observe { resources: vec![route()], interval_milliseconds: 10_000 });
    for message in [delta(), observe] {
        assert_eq!(ServerMessage::decode(&message.encode_to_vec()), Ok(message));
    }
}

#[test]
fn an_older_and_a_newer_schema_are_told_even_if_nothing_else_parses() {
    let newer = [8, 2, 0xff, 0xff, 0xff];
    let older = [8, 0];
    for (bytes, theirs) in [(&newer[..], 2), (&older, 0), (&[], 0)] {
        let expected = InvalidMessage::Schema { theirs };
        if bytes.is_empty() {
            // Nothing at all is no message of any schema.
            assert!(ServerMessage::decode(bytes).is_err());
            continue;
        }
        assert_eq!(ServerMessage::decode(bytes), Err(expected.clone()));
        assert_eq!(ClientMessage::decode(bytes), Err(expected.clone()));
        assert!(expected.to_string().contains("upgrade the older of the two"));
    }
}

#[test]
fn a_message_beyond_its_bound_is_refused_before_it_is_parsed() {
    let limits = Limits { max_message: 16, ..Limits::default() };
    let length = delta().encode_to_vec().len();
    let refused = ServerMessage::decode_within(&delta().encode_to_vec(), &limits);
    assert_eq!(refused, Err(InvalidMessage::TooLong { length, max: 16 }));
}

#[test]
fn a_part_that_its_head_does_not_announce_is_refused() {
    let ServerMessage::Delta(part) = delta() else { unreachable!("a delta") };
    let beyond = DeltaPart { part: 3, ..part.clone() };
    let error = ServerMessage::decode(&ServerMessage::Delta(beyond).encode_to_vec()).unwrap_err();
    assert_eq!(error.to_string(), "message holds delta.part: is 3; it must be less than `parts`");
    let unannounced = DeltaPart { head: DeltaHead { live: None, ..part.head }, ..part };
    let error = ServerMessage::decode(&ServerMessage::Delta(unannounced).encode_to_vec()).unwrap_err();
    assert!(error.to_string().starts_with("message holds delta.lane: "), "{error}");
}

#[test]
fn a_missing_field_is_named() {
    let hello = proto::Hello { node: "pod-1".into(), gateway: None, held: None };
    let message = proto::ClientMessage { schema: 1, kind: Some(proto::client_message::Kind::Hello(hello)) };
    let error = ClientMessage::decode(&message.encode_to_vec()).unwrap_err();
    assert_eq!(error.to_string(), "message holds hello.gateway: is missing; the sender must set it");
}

#[test]
fn a_flood_of_rejections_is_cut_where_it_is_sent() {
    let long = Rejection { message: "ü".repeat(1000), ..rejection() };
    let nack = Nack {
        version: Some(VERSION),
        held: None,
        rejected: vec![long; 5000],
        warnings: Vec::new(),
        message: "x".repeat(5000),
    };
    let bytes = ClientMessage::Nack(nack).encode_to_vec();
    assert!(bytes.len() < Limits::default().max_message);
    let Ok(ClientMessage::Nack(arrived)) = ClientMessage::decode(&bytes) else { panic!("a nack was sent") };
    assert_eq!((arrived.rejected.len(), arrived.message.len()), (1024, 1024));
    assert!(arrived.rejected[0].message.chars().all(|character| character == 'ü'));
}

#[test]
fn no_printer_shows_what_is_encoded() {
    assert!(format!("{:?}", delta()).contains("[<2 bytes>]"));
}
