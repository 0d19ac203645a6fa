//! A certificate authority of the test's own.

use crate::env::Env;
use std::process::{Command, Stdio};
use std::sync::Arc;

/// Names that nobody has, and those of docker's registry, which a proxy leads elsewhere.
const NAMES: &str =
    "DNS:localhost,IP:127.0.0.1,DNS:registry.example,DNS:mirror.example,DNS:index.docker.io,DNS:registry-1.docker.io";

/// Where the files are.
pub struct Authority {
    /// A directory for `--cert-dir`.
    pub dir: String,
    pub certificate: String,
    pub key: String,
}

impl Authority {
    /// Made with openssl(1); `None` if that is not installed.
    pub fn new(env: &Env) -> Option<Authority> {
        let path = |name: &str| env.path(name).to_str().unwrap().to_owned();
        let (ca, ca_key, key, csr, extensions, certificate) =
            (path("certs/ca.crt"), path("ca.key"), path("tls.key"), path("tls.csr"), path("tls.ext"), path("tls.crt"));
        std::fs::create_dir(env.path("certs")).unwrap();
        std::fs::write(&extensions, format!("subjectAltName={NAMES}\n")).unwrap();
        let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
        let own = ["-x509", "-days", "2", "-subj", "/CN=an authority", "-addext", "basicConstraints=critical,CA:TRUE"];
        openssl(&[&["req"], &curve[..], &own[..], &["-keyout", &ca_key, "-out", &ca]].concat())?;
        openssl(&[&["req"], &curve[..], &["-subj", "/CN=a server", "-keyout", &key, "-out", &csr]].concat())?;
        let signed = ["x509", "-req", "-days", "2", "-in", &csr, "-CA", &ca, "-CAkey", &ca_key, "-CAcreateserial"];
        openssl(&[&signed[..], &["-extfile", &extensions, "-out", &certificate]].concat())?;
        Some(Authority { dir: path("certs"), certificate, key })
    }

    /// What a server speaks with.
    pub fn server(&self) -> Arc<rustls::ServerConfig> {
        use rustls::pki_types::pem::PemObject;
        let chain = rustls::pki_types::CertificateDer::pem_file_iter(&self.certificate).unwrap().flatten().collect();
        let key = rustls::pki_types::PrivateKeyDer::from_pem_file(&self.key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        Arc::new(config.with_no_client_auth().with_single_cert(chain, key).unwrap())
    }
}

fn openssl(args: &[&str]) -> Option<()> {
    let output = Command::new("openssl").args(args).stdin(Stdio::null()).output().ok()?;
    assert!(output.status.success(), "{args:?}: {output:?}");
    Some(())
}
