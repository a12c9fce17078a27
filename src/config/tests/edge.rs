//! Authentication, limits and CORS: what they become, and what a reload makes of them.

use std::cell::RefCell;

use jsonwebtoken::Algorithm;

use super::*;

const APP: &str = "[upstream.app]\nservers = [\"http://a\"]\n";

/// A bridged route with these keys, and these tables besides.
fn with(route: &str, tables: &str) -> Config {
    let text = format!(
        "{APP}{tables}\n[[route]]\npath = \"/a\"\nupstream = \"app\"\nsource = \"sse\"\n{route}\n"
    );
    accepted(&text).config
}

const TOKENS: &str = "[auth.jwt]\nkind = \"jwt\"\nissuer = \"a\"\naudience = [\"b\", \"c\"]\n";

fn jwt(key: &str) -> Jwt {
    let config = with("auth = \"jwt\"", &format!("{TOKENS}{key}"));
    match &config.auths["jwt"].kind {
        AuthKind::Jwt(jwt) => jwt.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_key_says_which_signatures_are_believed() {
    use Algorithm::*;
    for (key, algorithms) in [
        (
            "secret = \"0123456789abcdef0123456789abcdef\"",
            &[HS256][..],
        ),
        ("public_key = \"/etc/crossfade/rsa.pem\"", &[RS256]),
        ("public_key = \"/etc/crossfade/p256.pem\"", &[ES256]),
        ("public_key = \"/etc/crossfade/p384.pem\"", &[ES384]),
        ("public_key = \"/etc/crossfade/ed25519.pem\"", &[EdDSA]),
        (
            "public_key = \"${file:/etc/crossfade/ed25519.pem}\"",
            &[EdDSA],
        ),
        (
            "jwks_url = \"https://a/jwks\"",
            &[RS256, ES256, ES384, EdDSA],
        ),
        (
            "public_key = \"/etc/crossfade/rsa.pem\"\nalgorithms = [\"PS256\", \"RS512\"]",
            &[PS256, RS512],
        ),
    ] {
        assert_eq!(jwt(key).algorithms, algorithms, "{key}");
    }
}

#[test]
fn a_token_has_the_documented_defaults() {
    let jwt = jwt("jwks_url = \"https://Login.Example.com/Keys?a=B\"");
    assert_eq!(jwt.issuer, Some(vec!["a".to_owned()]));
    assert_eq!(jwt.audience, Some(vec!["b".to_owned(), "c".to_owned()]));
    assert_eq!(jwt.leeway, Duration::from_secs(5));
    let claims = [&jwt.user, &jwt.tenant, &jwt.roles];
    assert_eq!(claims, ["sub", "tenant", "roles"]);
    let KeySource::Url(url) = &jwt.key else {
        panic!("a URL")
    };
    assert_eq!(url.to_string(), "https://login.example.com/Keys?a=B");
}

#[test]
fn a_key_of_pem_is_what_the_token_library_reads() {
    use jsonwebtoken::DecodingKey;
    for (name, read) in [
        ("rsa", DecodingKey::from_rsa_pem as fn(&[u8]) -> _),
        ("p256", DecodingKey::from_ec_pem),
        ("p384", DecodingKey::from_ec_pem),
        ("ed25519", DecodingKey::from_ed_pem),
    ] {
        let path = format!("/etc/crossfade/{name}.pem");
        let pem = certificates::file(&path).expect("a key");
        let theirs = read(pem.as_bytes()).expect("a key");
        let KeySource::Public(ours) = jwt(&format!("public_key = \"{path}\"")).key else {
            panic!("a public key")
        };
        let bytes = |key: &DecodingKey| key.try_get_as_bytes().map(<[u8]>::to_vec).ok();
        assert_eq!(bytes(&ours.key), bytes(&theirs), "{name}");
        assert_eq!(ours.key.family(), theirs.family(), "{name}");
    }
}

#[test]
fn files_of_keys_are_read_once_and_secrets_are_not_shown() {
    let text = format!(
        "{APP}{TOKENS}public_key = \"keys/jwt.pem\"\n\
         [auth.keys]\nkind = \"api_key\"\nfile = \"api.keys\"\n\
         [auth.own]\nkind = \"jwt\"\nissuer = \"a\"\naudience = \"b\"\n\
         secret = \"canary-0123456789abcdef0123456789abcdef\"\n\
         # auth.own.secret = \"canary\"\n\
         [[route]]\npath = \"/a\"\nupstream = \"app\"\nauth = [\"jwt\", \"keys\", \"own\"]\n"
    );
    let asked = RefCell::new(Vec::new());
    let read = |path: &Path| {
        asked.borrow_mut().push(path.to_owned());
        match path.to_str() {
            Some("/etc/keys/jwt.pem") => certificates::file("/etc/crossfade/p256.pem"),
            Some("/etc/api.keys") => certificates::file("/etc/crossfade/api.keys"),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    };
    let loaded = parse(&text, "/etc/proxy.toml", &|_| None, &read).expect("valid");
    let mut asked = asked.into_inner();
    asked.sort();
    assert_eq!(
        asked,
        [PathBuf::from("/etc/api.keys"), "/etc/keys/jwt.pem".into()]
    );
    assert_eq!(value(&loaded, "auth.own.secret").value, "***");
    assert!(!format!("{loaded:?}").contains("canary"));
    assert!(!loaded.text.contains("canary"), "{}", loaded.text);
}

#[test]
fn policies_are_no_part_of_what_is_read() {
    let tables = format!(
        "{TOKENS}jwks_url = \"https://a/jwks\"\n\
         [rate_limit.default]\nrequests = \"1/s\"\n[rate_limit.own]\n[cors.own]\n"
    );
    let reads = |route: &str, tables: &str| with(route, tables).routes[0].reads();
    let plain = reads("", "");
    for policy in [
        "auth = \"jwt\"",
        "auth = [\"jwt\"]\nrequire = {roles = [\"a\"], claims = {b = 1}}",
        "rate_limit = \"own\"",
        "cors = \"own\"",
    ] {
        assert_eq!(reads(policy, &tables), plain, "{policy}");
    }
    let shared = "auth = \"jwt\"\nshare = {claims = [\"tenant\"]}";
    assert_ne!(reads(shared, &tables), plain);
}

#[test]
fn equal_text_is_equal_config_and_another_key_is_another() {
    let example = || accepted(&super::example::example_with_files()).config;
    assert_eq!(example(), example());
    let with_key = |name: &str| jwt(&format!("public_key = \"/etc/crossfade/{name}.pem\""));
    assert_eq!(with_key("p256"), with_key("p256"));
    assert_ne!(with_key("p256"), with_key("p384"));
}

#[test]
fn a_policy_called_default_is_for_routes_that_name_none() {
    let tables = format!(
        "{TOKENS}jwks_url = \"https://a/jwks\"\n[auth.keys]\nkind = \"api_key\"\nfile = \"/etc/crossfade/api.keys\"\n\
         identity = {{user = \"X-User\", roles = \"X-Roles\"}}\n\
         [rate_limit.default]\nby = \"user\"\nbytes = \"1MiB/s\"\n[cors.default]\n[websocket]\nauth = \"jwt\"\n"
    );
    let config = with("auth = [\"keys\", \"jwt\"]", &tables);
    let route = &config.routes[0];
    let named: Vec<_> = route.auth.iter().map(|auth| &*auth.name).collect();
    assert_eq!(named, ["keys", "jwt"]);
    let limit = route.rate_limit.as_ref().expect("a limit");
    assert_eq!((limit.name.as_str(), limit.by), ("default", LimitBy::User));
    assert_eq!(config.websocket.rate_limit.as_ref(), Some(limit));
    assert_eq!(config.websocket.auth, [config.auths["jwt"].clone()]);
    assert_eq!(config.identity_headers, ["x-user", "x-roles"]);
    let cors = route.cors.as_ref().expect("a policy");
    assert_eq!(cors.methods.len(), 6);
    assert_eq!(cors.expose, ["etag", "x-request-id"]);
    assert_eq!(
        (cors.max_age.as_secs(), cors.mode),
        (600, CorsMode::Enforce)
    );
}

#[test]
fn a_claim_may_be_one_value_or_one_of_a_list() {
    let tables = format!("{TOKENS}jwks_url = \"https://a/jwks\"");
    let config = with(
        "auth = \"jwt\"\nrequire = {roles = [\"a\", \"b\"], claims = {level = [3, 4.5], ok = true, tenant = \"t\"}}",
        &tables,
    );
    let require = config.routes[0].require.as_ref().expect("required");
    assert_eq!(require.roles, ["a", "b"]);
    let claims: std::collections::BTreeMap<_, _> = require.claims.iter().cloned().collect();
    assert_eq!(
        claims["level"],
        [serde_json::json!(3), serde_json::json!(4.5)]
    );
    assert_eq!(claims["ok"], [true]);
    assert_eq!(claims["tenant"], ["t"]);
}
