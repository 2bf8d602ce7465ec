use portcullis_auth::{Basic, PasswordHash, Reason, Users};

/// `secret` under bcrypt with the least cost, and under SHA-1.
const FILE: &str = "\
# people
alice:$2y$04$KLrdFs7VEYpQKiQFMiF8yOGlBYkREfJbExhd7FPzD9C0cGJ2JUaEy
bob:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
broken:$2y$31$KLrdFs7VEYpQKiQFMiF8yOGlBYkREfJbExhd7FPzD9C0cGJ2JUaEy
plain:secret
no line at all
twice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
twice:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=
";

fn file() -> String {
    // The salt above is arbitrary: the hash is computed for it.
    let salt = [1; 16];
    let hash = bcrypt::bcrypt(4, salt, b"secret\0");
    let engine = base64::engine::GeneralPurpose::new(
        &base64::alphabet::BCRYPT,
        base64::engine::GeneralPurposeConfig::new().with_encode_padding(false),
    );
    let text = |bytes: &[u8]| base64::Engine::encode(&engine, bytes);
    let line = format!("alice:$2y$04${}{}", text(&salt), text(&hash[..23]));
    FILE.lines().map(|old| if old.starts_with("alice") { line.clone() } else { old.to_owned() } + "\n").collect()
}

fn accepts(users: &Users, name: &str, password: &str) -> bool {
    users.check("basic", name, password.as_bytes()).0.run().is_some()
}

#[test]
fn a_bad_line_denies_its_user_alone() {
    let users = Users::parse(file().as_bytes());
    assert_eq!(users.unreadable(), [4, 5, 6, 8]);
    for (name, accepted) in [("alice", true), ("bob", true), ("broken", false), ("plain", false), ("twice", false)] {
        assert_eq!(accepts(&users, name, "secret"), accepted, "{name}");
        assert!(!accepts(&users, name, "secres"), "{name}");
    }
    assert!(!accepts(&users, "", "") && !accepts(&users, "no line at all", ""));
}

#[test]
fn a_user_who_is_not_there_costs_as_much_as_one_who_is() {
    let users = Users::parse(file().as_bytes());
    let (check, slow) = users.check("basic", "nobody", b"secret");
    assert!(slow, "the slowest kind of the file");
    assert_eq!(format!("{check:?}"), "SlowCheck(<redacted>, 1 candidates)");
    assert!(check.run().is_none());
    assert!(users.check("basic", "alice", b"secret").1);
    assert!(!users.check("basic", "bob", b"secret").1);
}

#[test]
fn known_bcrypt_hashes_verify() {
    // OpenBSD's and crypt_blowfish's test vectors.
    for (password, hash) in [
        ("U*U", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW"),
        ("U*U*", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.VGOzA784oUp/Z0DY336zx7pLYAy0lwK"),
        ("", "$2a$05$CCCCCCCCCCCCCCCCCCCCC.7uG0VCzI2bS7j6ymqJi9CdcdxiRTWNy"),
    ] {
        let parsed = PasswordHash::parse(hash).unwrap();
        assert!(parsed.verifies(password.as_bytes()), "{hash}");
        assert!(!parsed.verifies(b"other"), "{hash}");
    }
}

#[test]
fn credentials_are_read_strictly() {
    let parse = |text: &str| Basic::parse(text.as_bytes()).map(|basic| (basic.name, basic.password));
    assert_eq!(parse("YWxpY2U6cGE6c3M="), Ok(("alice".into(), b"pa:ss".to_vec())));
    for text in ["YWxpY2U", "YWxpY2U6cGE6c3M", "!", "YWxpY2U=", ""] {
        assert_eq!(parse(text), Err(Reason::Malformed), "{text}");
    }
    assert_eq!(parse(&"A".repeat(5000)), Err(Reason::TooLarge));
    let (one, other) = (Basic::parse(b"YTpiYw==").unwrap(), Basic::parse(b"YWI6Yw==").unwrap());
    assert_ne!(one.fingerprint(), other.fingerprint(), "a:bc is not ab:c");
    assert_eq!(format!("{one:?}"), "Basic(a, <redacted>)");
}
