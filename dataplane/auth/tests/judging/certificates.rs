use portcullis_auth::{Certificates, Reason, Shown, xfcc};
use portcullis_ir::CertificateRule;
use rcgen::{CertificateParams, DnType, KeyPair, SanType};

fn certificate() -> Vec<u8> {
    let mut params = CertificateParams::new(vec!["web.partner.test".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::URI("spiffe://partner.test/web".try_into().unwrap()));
    params.subject_alt_names.push(SanType::Rfc822Name("ops@partner.test".try_into().unwrap()));
    params.subject_alt_names.push(SanType::IpAddress("192.0.2.7".parse().unwrap()));
    params.distinguished_name.push(DnType::CountryName, "DE");
    params.distinguished_name.push(DnType::OrganizationName, "Partner, \"Web\"");
    params.distinguished_name.push(DnType::CommonName, "web");
    let key = KeyPair::generate().unwrap();
    params.self_signed(&key).unwrap().der().to_vec()
}

fn judge(rule: CertificateRule) -> Result<(), Reason> {
    Certificates::new("partners", &[rule]).judge(&certificate()).map(|identity| {
        assert_eq!(&*identity.method, "partners");
    })
}

#[test]
fn a_certificate_is_taken_by_its_names() {
    for (name, taken) in [
        ("web.partner.test", true),
        ("WEB.partner.test", true),
        ("*.partner.test", true),
        ("*.test", false),
        ("partner.test", false),
        ("spiffe://partner.test/web", true),
        ("spiffe://partner.test/", false),
        ("ops@partner.test", true),
        ("192.0.2.7", true),
        ("192.0.2.8", false),
        ("web", false),
    ] {
        let rule =
            CertificateRule { subject_alt_names: vec!["other.test".into(), name.into()], ..CertificateRule::default() };
        assert_eq!(judge(rule).is_ok(), taken, "{name}");
    }
}

#[test]
fn all_parts_of_a_rule_must_hold() {
    let der = certificate();
    let shown = Shown::read(&der).unwrap();
    assert!(shown.identity.subject.contains("O=Partner\\, \\\"Web\\\",C=DE"), "{}", shown.identity.subject);
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der);
    let fingerprint: [u8; 32] = digest.as_ref().try_into().unwrap();
    let rule = |issuer: &str, fingerprint: [u8; 32]| CertificateRule {
        subject_alt_names: Vec::new(),
        issuers: vec![issuer.into()],
        fingerprints: vec![fingerprint],
    };
    let issuer = &*shown.identity.issuer;
    let judge = |rules: &[CertificateRule]| Certificates::new("partners", rules).judge(&der).map(drop);
    assert_eq!(judge(&[rule(issuer, fingerprint)]), Ok(()));
    assert_eq!(judge(&[rule("CN=other", fingerprint)]), Err(Reason::Certificate));
    assert_eq!(judge(&[rule(issuer, [0; 32])]), Err(Reason::Certificate));
    assert_eq!(judge(&[rule(issuer, [0; 32]), rule(issuer, fingerprint)]), Ok(()), "any rule suffices");
    assert_eq!(judge(&[]), Ok(()), "without rules any verified certificate is taken");
    assert_eq!(Certificates::new("partners", &[]).judge(b"garbage").unwrap_err(), Reason::Malformed);
}

#[test]
fn what_backends_are_told_of_a_certificate_cannot_be_broken_out_of() {
    let shown = Shown::read(&certificate()).unwrap();
    let value = xfcc(&shown).unwrap();
    let value = value.to_str().unwrap();
    assert!(value.starts_with(&format!("Hash={};Subject=\"", shown.identity.fingerprint)), "{value}");
    assert!(value.contains(r#"O=Partner\\, \\\"Web\\\""#), "{value}");
    assert!(value.ends_with(r#";URI="spiffe://partner.test/web";DNS="web.partner.test""#), "{value}");
}
