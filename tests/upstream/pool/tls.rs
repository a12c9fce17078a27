//! https servers: who is believed, and what is told of those who are not.

use std::fs;
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::PrivateKeyDer;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::harness::{
    EVERYTHING, Message, Proxy,
    tls_backend::{Authority, Modern},
    within,
};

const HTTP_1: &[&str] = &["http/1.1"];

/// A proxy before an https backend that should be `app.internal`.
struct Scene {
    proxy: Proxy,
    folder: TempDir,
}

impl Scene {
    async fn before(backend: &Modern, trusted: &Authority) -> Scene {
        let folder = tempfile::tempdir().unwrap();
        let ca = folder.path().join("ca.pem");
        fs::write(&ca, trusted.pem()).unwrap();
        let tls = format!("tls = {{ca = {ca:?}, server_name = \"app.internal\"}}");
        Scene {
            proxy: proxy(backend, &tls).await,
            folder,
        }
    }

    async fn ask(&self) -> Message {
        self.proxy.client().await.ask("GET /", "", "").await
    }
}

async fn proxy(backend: &Modern, tls: &str) -> Proxy {
    let address = backend.address;
    let upstream = format!("[upstream.app]\nservers = [\"https://{address}\"]\n{tls}\n");
    Proxy::start("", &(upstream + EVERYTHING)).await
}

#[track_caller]
fn assert_refused(proxy: &Proxy, answer: &Message, reason: &str, detail: &str) {
    assert_eq!(answer.status(), 502, "{}", answer.text());
    let problem = answer.json();
    assert_eq!(problem["side"], "upstream", "{problem}");
    assert_eq!(problem["code"], "upstream_down", "{problem}");
    assert_eq!(problem["detail"], detail, "{problem}");
    let counted = format!("upstream_errors_total{{reason=\"{reason}\",upstream=\"app\"}} 1");
    let metrics = proxy.metrics();
    assert!(metrics.contains(&counted), "{reason}\n{metrics}");
}

#[tokio::test]
async fn server_certificate_by_the_given_authority_is_trusted() {
    let authority = Authority::new();
    let acceptor = authority.vouch("app.internal", 4000, HTTP_1);
    let backend = Modern::start(Some(acceptor), false).await;
    let scene = Scene::before(&backend, &authority).await;
    let answer = scene.ask().await;
    assert_eq!(
        (answer.status(), answer.text()),
        (200, "HTTP/1.1 ".to_owned())
    );
    let seen = backend.only();
    assert_eq!(seen.sni.as_deref(), Some("app.internal"));
    assert_eq!(seen.headers["host"], "a.example");
}

#[tokio::test]
async fn large_bodies_pass_over_tls_both_ways() {
    let authority = Authority::new();
    let acceptor = authority.vouch("app.internal", 4000, HTTP_1);
    let backend = Modern::start(Some(acceptor), false).await;
    let scene = Scene::before(&backend, &authority).await;
    let body = "0123456789abcdef".repeat(64 * 1024);
    let mut client = scene.proxy.client().await;
    let answer = within("the echo", client.ask("POST /", "", &body)).await;
    assert!(answer.text() == format!("HTTP/1.1 {body}"));
}

#[tokio::test]
async fn a_certificate_out_of_its_time_is_refused() {
    let authority = Authority::new();
    let acceptor = authority.vouch("app.internal", 2020, HTTP_1);
    let backend = Modern::start(Some(acceptor), false).await;
    let scene = Scene::before(&backend, &authority).await;
    let detail = "the backend's certificate has expired";
    assert_refused(&scene.proxy, &scene.ask().await, "tls_expired", detail);
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn certificate_of_another_name_is_refused_without_names() {
    let authority = Authority::new();
    let acceptor = authority.vouch("other.internal", 4000, HTTP_1);
    let backend = Modern::start(Some(acceptor), false).await;
    let scene = Scene::before(&backend, &authority).await;
    let answer = scene.ask().await;
    let detail = "the backend's certificate is for another name";
    assert_refused(&scene.proxy, &answer, "tls_wrong_name", detail);
    assert!(!answer.text().contains("internal"), "{}", answer.text());
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn certificate_of_an_unnamed_authority_is_refused() {
    let acceptor = Authority::new().vouch("app.internal", 4000, HTTP_1);
    let backend = Modern::start(Some(acceptor), false).await;
    let detail = "the backend's certificate is by an unknown issuer";
    let scene = Scene::before(&backend, &Authority::new()).await;
    assert_refused(
        &scene.proxy,
        &scene.ask().await,
        "tls_unknown_issuer",
        detail,
    );
    // Nor does the system know it.
    let proxy = proxy(&backend, "tls = {server_name = \"app.internal\"}").await;
    let answer = proxy.client().await.ask("GET /", "", "").await;
    assert_refused(&proxy, &answer, "tls_unknown_issuer", detail);
    assert!(backend.seen().is_empty());
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_told_apart() {
    let backend = Modern::start(None, false).await;
    let scene = Scene::before(&backend, &Authority::new()).await;
    let detail = "no TLS with the backend came about";
    assert_refused(&scene.proxy, &scene.ask().await, "tls", detail);
}

#[tokio::test]
async fn another_authority_in_the_file_is_in_force_without_a_restart() {
    let authority = Authority::new();
    let acceptor = authority.vouch("app.internal", 4000, HTTP_1);
    let backend = Modern::start(Some(acceptor), false).await;
    let scene = Scene::before(&backend, &Authority::new()).await;
    assert_eq!(scene.ask().await.status(), 502);
    fs::write(scene.folder.path().join("ca.pem"), authority.pem()).unwrap();
    within("the file to be read again", async {
        while scene.ask().await.status() != 200 {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn sessions_are_resumed() {
    let authority = Authority::new();
    let acceptor = authority.vouch("app.internal", 4000, HTTP_1);
    let backend = Modern::start(Some(acceptor), false).await;
    let scene = Scene::before(&backend, &authority).await;
    for _ in 0..3 {
        let mut client = scene.proxy.client().await;
        assert_eq!(client.ask("GET /close", "", "").await.status(), 200);
    }
    let resumed: Vec<_> = backend.seen().iter().map(|seen| seen.is_resumed).collect();
    assert_eq!(resumed, [false, true, true]);
}

/// What `openssl req -x509` makes: a certificate that is its own authority. Its PEM, and a server that shows it.
fn own_certificate(names: &[&str]) -> (String, TlsAcceptor) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)
        .unwrap();
    (certificate.pem(), TlsAcceptor::from(Arc::new(config)))
}

/// A proxy before this backend, with this PEM as `ca`, and the folder that it lies in.
async fn believing(backend: &Modern, pem: &str, more: &str) -> (Proxy, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, pem).unwrap();
    let proxy = proxy(backend, &format!("tls = {{ca = {ca:?}{more}}}")).await;
    (proxy, folder)
}

#[tokio::test]
async fn a_certificate_that_is_its_own_authority_is_believed() {
    let (pem, acceptor) = own_certificate(&["127.0.0.1", "app.internal"]);
    let backend = Modern::start(Some(acceptor), false).await;
    for more in ["", ", server_name = \"app.internal\""] {
        let (proxy, _folder) = believing(&backend, &pem, more).await;
        let answer = proxy.client().await.ask("GET /", "", "").await;
        assert_eq!(answer.status(), 200, "{more}: {}", answer.text());
    }
    let (proxy, _folder) = believing(&backend, &pem, ", server_name = \"b.internal\"").await;
    let answer = proxy.client().await.ask("GET /", "", "").await;
    let detail = "the backend's certificate is for another name";
    assert_refused(&proxy, &answer, "tls_wrong_name", detail);
    let (other, _) = own_certificate(&["127.0.0.1"]);
    let (proxy, _folder) = believing(&backend, &other, "").await;
    let answer = proxy.client().await.ask("GET /", "", "").await;
    let detail = "the backend's certificate is by an unknown issuer";
    assert_refused(&proxy, &answer, "tls_unknown_issuer", detail);
}

/// Answers every request by these bytes, and ends the connection below TLS without a word of it.
async fn wordless(authority: &Authority, answer: &'static str) -> Proxy {
    let acceptor = authority.vouch("app.internal", 4000, HTTP_1);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                continue;
            };
            let mut head = [0; 4096];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.flush().await;
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    fs::write(&ca, authority.pem()).unwrap();
    let upstream = format!(
        "[upstream.app]\nservers = [\"https://{address}\"]\n\
         tls = {{ca = {ca:?}, server_name = \"app.internal\"}}\n"
    );
    Proxy::start("", &(upstream + EVERYTHING)).await
}

#[tokio::test]
async fn an_answer_ended_by_the_connection_needs_no_close_notify() {
    let authority = Authority::new();
    for answer in ["HTTP/1.0 200 OK\r\n\r\nall", "HTTP/1.1 200 OK\r\n\r\nall"] {
        let proxy = wordless(&authority, answer).await;
        let answer = proxy.client().await.ask("GET /", "", "").await;
        assert_eq!((answer.status(), answer.text().as_str()), (200, "all"));
        assert!(!proxy.metrics().contains("crossfade_upstream_errors_total{"));
    }
}

#[tokio::test]
async fn an_answer_cut_before_its_own_end_stays_broken_over_tls() {
    let authority = Authority::new();
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ] {
        let proxy = wordless(&authority, answer).await;
        let mut client = proxy.client().await;
        client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(client.head().await.status(), 200);
        let came = within("the end", client.rest()).await;
        assert!(!came.ends_with(b"0\r\n\r\n"), "{came:?}");
        let metrics = proxy.metrics();
        let counted = "upstream_errors_total{reason=\"broken\",upstream=\"app\"} 1";
        assert!(metrics.contains(counted), "{metrics}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_live_names_each_obstacle_and_the_way_out() {
    let (ours, other) = (Authority::new(), Authority::new());
    let folder = tempfile::tempdir().unwrap();
    let (ca, config) = (
        folder.path().join("ca.pem"),
        folder.path().join("proxy.toml"),
    );
    fs::write(&ca, ours.pem()).unwrap();
    let name = "app.internal";
    let mut backends = Vec::new();
    let mut text = String::new();
    let rows = [
        ("expired", Some(ours.vouch(name, 2020, HTTP_1))),
        ("early", Some(ours.vouch_from(name, 3999, 4000, HTTP_1))),
        ("unknown", Some(other.vouch(name, 4000, HTTP_1))),
        ("misnamed", Some(ours.vouch("other.internal", 4000, HTTP_1))),
        ("plain", None),
    ];
    for (upstream, acceptor) in rows {
        let backend = Modern::start(acceptor, false).await;
        let server = format!("https://{}", backend.address);
        let tls = format!("{{ca = {ca:?}, server_name = {name:?}}}");
        text += &format!("[upstream.{upstream}]\nservers = [{server:?}]\ntls = {tls}\n");
        backends.push(backend);
    }
    text += "[upstream.nowhere]\nservers = [\"https://nowhere.invalid\"]\n";
    text += &EVERYTHING.replace("\"app\"", "\"expired\"");
    fs::write(&config, text).unwrap();
    let checked = tokio::task::spawn_blocking(move || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_crossfade"));
        let command = command.arg("check").arg(config).args(["--live", "--json"]);
        command.output().unwrap()
    });
    let checked = within("the check", checked).await.unwrap();
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    let told: serde_json::Value = serde_json::from_slice(&checked.stdout).unwrap();
    for (upstream, cause, way_out) in [
        (
            "expired",
            "certificate expired",
            "renew the server's certificate",
        ),
        ("early", "not valid yet", "set the clock of this machine"),
        ("unknown", "invalid peer certificate", "`tls.ca`"),
        ("misnamed", "not valid for name", "`tls.server_name`"),
        ("plain", "", "write `http://`"),
        ("nowhere", "", "name servers or the hosts file"),
    ] {
        let key = format!("upstream.{upstream}.servers");
        let mut problems = told["problems"].as_array().unwrap().iter();
        let problem = problems.find(|problem| problem["key"] == *key);
        let problem = problem.unwrap_or_else(|| panic!("{key}: {told}"));
        assert_eq!(problem["severity"], "error", "{problem}");
        let said = [&problem["message"], &problem["hint"]].map(|said| said.as_str().unwrap());
        assert!(
            said[0].contains("cannot be reached") && said[0].contains(cause),
            "{problem}"
        );
        assert!(said[1].contains(way_out), "{problem}");
    }
}
