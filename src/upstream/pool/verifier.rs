//! Whether an https server is the one that its upstream names, by authorities that the file gives.
//!
//! A certificate that `openssl req -x509` makes says of itself that it is an authority's, and is used by the server itself
//! all the same. No chain leads to such a certificate: an authority's is none of a server (RFC 5280, section 4.2.1.9). Where
//! the file gives that very certificate as `ca` its names decide, as with OpenSSL, and so nginx.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, DigitallySignedStruct, Error, OtherError, RootCertStore, SignatureScheme,
};

/// Believes what leads to an authority, and an authority itself.
#[derive(Debug)]
pub(crate) struct Verifier {
    chains: Arc<WebPkiServerVerifier>,
    given: Arc<RootCertStore>,
}

impl Verifier {
    /// # Errors
    /// Where no authority is given.
    pub(crate) fn new(
        given: Arc<RootCertStore>,
        provider: Arc<CryptoProvider>,
    ) -> Result<Self, String> {
        let chains = WebPkiServerVerifier::builder_with_provider(given.clone(), provider).build();
        let chains = chains.map_err(|error| error.to_string())?;
        Ok(Verifier { chains, given })
    }

    /// Whether this certificate is one of those that the file gives: its subject and key are.
    fn is_given(&self, certificate: &CertificateDer<'_>) -> bool {
        let Ok(anchor) = webpki::anchor_from_trusted_cert(certificate) else {
            return false;
        };
        self.given.roots.iter().any(|given| {
            given.subject == anchor.subject
                && given.subject_public_key_info == anchor.subject_public_key_info
        })
    }
}

/// Whether this is all that is wrong. The certificate's time has been looked at before that.
pub(crate) fn is_authority(error: &CertificateError) -> bool {
    let CertificateError::Other(OtherError(other)) = error else {
        return false;
    };
    other.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity)
}

/// The names that the certificate is for; where it lists none, its common name.
fn verify_name(certificate: &CertificateDer<'_>, name: &ServerName<'_>) -> Result<(), Error> {
    let parsed = ParsedCertificate::try_from(certificate)?;
    let verdict = rustls::client::verify_server_name(&parsed, name);
    match &verdict {
        Err(Error::InvalidCertificate(CertificateError::NotValidForNameContext {
            presented,
            ..
        })) if presented.is_empty() => {
            let common = webpki::EndEntityCert::try_from(certificate)
                .ok()
                .and_then(|certificate| common_name(certificate.subject()));
            match common.is_some_and(|common| common.eq_ignore_ascii_case(&name.to_str())) {
                true => Ok(()),
                false => verdict,
            }
        }
        _ => verdict,
    }
}

/// The last common name of a subject (RFC 5280, appendix A.1).
fn common_name(mut subject: &[u8]) -> Option<String> {
    const SET: u8 = 0x31;
    const SEQUENCE: u8 = 0x30;
    const OBJECT: u8 = 0x06;
    const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
    let mut found = None;
    while let Some((SET, set, rest)) = element(subject) {
        if let Some((SEQUENCE, attribute, _)) = element(set)
            && let Some((OBJECT, COMMON_NAME, value)) = element(attribute)
            && let Some((_, text, _)) = element(value)
        {
            found = String::from_utf8(text.to_vec()).ok();
        }
        subject = rest;
    }
    found
}

/// Kind and content of the first element in DER, and what is behind it.
fn element(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, rest) = bytes.split_first()?;
    let (length, rest) = rest.split_first()?;
    let (length, rest) = match length {
        0..=0x7f => (usize::from(*length), rest),
        0x81 => {
            let (length, rest) = rest.split_first()?;
            (usize::from(*length), rest)
        }
        // Names are not as long.
        0x80 | 0x82.. => return None,
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((*kind, content, rest))
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let verdict = (self.chains).verify_server_cert(certificate, others, name, ocsp, now);
        match &verdict {
            Err(Error::InvalidCertificate(wrong))
                if is_authority(wrong) && self.is_given(certificate) =>
            {
                verify_name(certificate, name).map(|()| ServerCertVerified::assertion())
            }
            _ => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.chains).verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        (self.chains).verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chains.supported_verify_schemes()
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, KeyPair};
    use rustls::crypto::ring::default_provider;

    use super::*;

    /// A certificate of its own issuer for these names, with this common name.
    fn own(names: &[&str], common: &str) -> CertificateDer<'static> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(DnType::OrganizationName, "Ours");
        params.distinguished_name.push(DnType::CommonName, common);
        let key = KeyPair::generate().unwrap();
        params.self_signed(&key).unwrap().der().clone()
    }

    fn judge(
        given: &CertificateDer<'static>,
        shown: &CertificateDer<'static>,
        name: &'static str,
    ) -> Result<ServerCertVerified, Error> {
        let mut roots = RootCertStore::empty();
        roots.add(given.clone()).unwrap();
        let verifier = Verifier::new(roots.into(), default_provider().into()).unwrap();
        let name = ServerName::try_from(name).unwrap();
        verifier.verify_server_cert(shown, &[], &name, &[], UnixTime::now())
    }

    #[test]
    fn an_authority_that_is_given_is_believed_for_its_names() {
        let given = own(&["app.internal", "127.0.0.1"], "other.internal");
        judge(&given, &given, "app.internal").unwrap();
        judge(&given, &given, "127.0.0.1").unwrap();
        let wrong = judge(&given, &given, "other.internal").unwrap_err();
        assert!(wrong.to_string().contains("not valid for name"), "{wrong}");
    }

    #[test]
    fn where_it_lists_no_names_its_common_name_counts() {
        let given = own(&[], "App.internal");
        judge(&given, &given, "app.internal").unwrap();
        judge(&given, &given, "internal").unwrap_err();
    }

    #[test]
    fn an_authority_that_is_not_given_is_not_believed() {
        let (given, shown) = (own(&["app.internal"], "a"), own(&["app.internal"], "a"));
        judge(&given, &shown, "app.internal").unwrap_err();
    }

    #[test]
    fn a_name_that_breaks_off_is_none() {
        let whole = [0x31, 9, 0x30, 7, 6, 3, 0x55, 4, 3, 0x0c, 0];
        assert_eq!(common_name(&whole).as_deref(), Some(""));
        for end in 0..whole.len() {
            assert_eq!(common_name(&whole[..end]), None);
        }
        assert_eq!(common_name(&[0x31, 0x82, 0xff, 0xff]), None);
    }
}
