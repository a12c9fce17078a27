//! Certificates and keys, read from the PEM files that keys of the configuration name.

use std::path::PathBuf;
use std::string::FromUtf8Error;

use rustls::pki_types::pem::{Error, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, SubjectPublicKeyInfoDer};

use super::diagnostics::Diagnostics;
use super::scalar;
use super::tree::{Node, NodeForm};

/// A file as a key of the configuration names it.
pub(crate) struct Pem<'a> {
    desk: &'a Diagnostics<'a>,
    node: &'a Node,
    /// As problems name it.
    subject: String,
    /// Where it is; relative paths start at the configuration file.
    pub(crate) path: PathBuf,
    /// All that it holds.
    pub(crate) text: String,
}

const BEGINNING: &str = "-----BEGIN";

impl<'a> Pem<'a> {
    /// As [`Pem::read`], and the string may be the PEM text itself.
    pub(crate) fn read_or_text(desk: &'a Diagnostics<'a>, node: &'a Node) -> Option<Self> {
        match &node.form {
            NodeForm::Text(text) if text.text.contains(BEGINNING) => Some(Pem {
                desk,
                node,
                subject: match text.origin {
                    Some(_) => scalar::written(node),
                    // What stands there may be a private key.
                    None => "the PEM text".to_owned(),
                },
                path: PathBuf::new(),
                text: text.text.clone(),
            }),
            _ => Self::read(desk, node),
        }
    }

    /// Reads the file that a string names; `None` (reported) where there is none.
    pub(crate) fn read(desk: &'a Diagnostics<'a>, node: &'a Node) -> Option<Self> {
        let NodeForm::Text(text) = &node.form else {
            scalar::refuse_kind(desk, node, "a string");
            return None;
        };
        let place = node.span.start;
        if text.text.contains(BEGINNING) {
            let fix = "write the path of the file that holds it";
            desk.error(place, &node.key, "is PEM text, not the path of a file", fix);
            return None;
        }
        let path = desk.world.folder.join(&text.text);
        let pem = |text| Pem {
            desk,
            node,
            subject: scalar::written(node),
            path: path.clone(),
            text,
        };
        match (desk.world.read)(&path) {
            Ok(text) => Some(pem(text)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                // Between the sections of a PEM file stands what people write in any encoding.
                let cause = error.into_inner();
                let cause = cause.and_then(|cause| cause.downcast::<FromUtf8Error>().ok());
                let bytes = cause.map(|cause| cause.into_bytes()).unwrap_or_default();
                let text = String::from_utf8_lossy(&bytes);
                if text.contains(BEGINNING) {
                    return Some(pem(text.into_owned()));
                }
                pem(String::new()).refuse(
                    "is no PEM file: it is not text",
                    "convert it: `openssl x509 -inform DER -in FILE`, or `openssl pkey -inform DER -in FILE`",
                );
                None
            }
            Err(error) => {
                let what = format!("cannot be read: {error}");
                pem(String::new()).refuse(&what, "create it, or let this user read it");
                None
            }
        }
    }

    /// Reports what is wrong with the file.
    pub(crate) fn refuse(&self, what: &str, fix: &str) {
        let what = format!("{} {what}", self.subject);
        self.desk
            .error(self.node.span.start, &self.node.key, what, fix);
    }

    /// Reports what is to be known about the file.
    pub(crate) fn warn(&self, what: &str, fix: &str) {
        let what = format!("{} {what}", self.subject);
        self.desk
            .warning(self.node.span.start, &self.node.key, what, fix);
    }

    /// Its certificates, in their order; at least one.
    pub(crate) fn certificates(&self) -> Option<Vec<CertificateDer<'static>>> {
        let found: Result<Vec<_>, _> =
            CertificateDer::pem_slice_iter(self.text.as_bytes()).collect();
        match found {
            Ok(found) if !found.is_empty() => return Some(found),
            Ok(_) if self.text.contains("PRIVATE KEY-----") => self.refuse(
                "holds a private key and no certificate",
                "name the certificate's file: perhaps the two are exchanged",
            ),
            Ok(_) => self.refuse(
                "holds no certificate",
                "name a PEM file with `-----BEGIN CERTIFICATE-----` in it",
            ),
            Err(error) => self.refuse_syntax(&error),
        }
        None
    }

    /// Its first private key.
    pub(crate) fn private_key(&self) -> Option<PrivateKeyDer<'static>> {
        let is_encrypted = ["BEGIN ENCRYPTED PRIVATE KEY", "Proc-Type: 4,ENCRYPTED"];
        if is_encrypted.iter().any(|mark| self.text.contains(mark)) {
            self.refuse(
                "holds an encrypted private key",
                "decrypt it (`openssl pkey -in FILE -out PLAIN`) and let only this user read it",
            );
            return None;
        }
        match PrivateKeyDer::from_pem_slice(self.text.as_bytes()) {
            Ok(key) => return Some(key),
            Err(Error::NoItemsFound) if self.text.contains("BEGIN CERTIFICATE") => {
                self.refuse(
                    "holds a certificate and no private key",
                    "name the key's file: perhaps the two are exchanged",
                );
            }
            Err(Error::NoItemsFound) => self.refuse(
                "holds no private key",
                "name a PEM file with `-----BEGIN PRIVATE KEY-----` in it",
            ),
            Err(error) => self.refuse_syntax(&error),
        }
        None
    }

    /// Its first public key.
    pub(crate) fn public_key(&self) -> Option<SubjectPublicKeyInfoDer<'static>> {
        let holds = |mark: &str| self.text.contains(mark);
        match SubjectPublicKeyInfoDer::from_pem_slice(self.text.as_bytes()) {
            _ if holds("PRIVATE KEY-----") => self.refuse(
                "holds a private key, which has no business here",
                "write the public one: `openssl pkey -in FILE -pubout`",
            ),
            Ok(key) => return Some(key),
            Err(Error::NoItemsFound) if holds("BEGIN RSA PUBLIC KEY") => self.refuse(
                "holds a public key in an old form",
                "convert it: `openssl rsa -RSAPublicKey_in -in FILE -pubout`",
            ),
            Err(Error::NoItemsFound) if holds("BEGIN CERTIFICATE") => self.refuse(
                "holds a certificate and no public key",
                "write its key: `openssl x509 -in FILE -pubkey -noout`",
            ),
            Err(Error::NoItemsFound) => self.refuse(
                "holds no public key",
                "name a PEM file with `-----BEGIN PUBLIC KEY-----` in it, or write that text",
            ),
            Err(error) => self.refuse_syntax(&error),
        }
        None
    }

    /// The library's own words may repeat bytes of a key.
    fn refuse_syntax(&self, error: &Error) {
        let what = match error {
            Error::MissingSectionEnd { .. } => "is broken PEM: a section has no end",
            Error::IllegalSectionStart { .. } => "is broken PEM: a section has no proper beginning",
            Error::Base64Decode(_) => "is broken PEM: a section is no base64",
            _ => "is broken PEM",
        };
        self.refuse(what, "write the file anew: it may have been cut or edited");
    }
}
