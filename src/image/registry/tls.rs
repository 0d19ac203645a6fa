//! Which certificates count: one bundle of the host's, or Mozilla's as they were when rbox was built, and what the
//! user puts beside them for one registry (containers-certs.d(5)).

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, parse_pem};

/// Where distributions keep their bundle; one file, since a directory of hundreds takes as long as a pull.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// The configuration for one registry. `verify`: whether its certificate must be valid.
pub fn config(registry: &str, cert_dir: Option<&Path>, verify: bool) -> Result<TlsConfig> {
    let mut builder = TlsConfig::builder().disable_verification(!verify);
    let own = Own::read(registry, cert_dir)?;
    let mut roots = match bundle() {
        Some(path) => certificates(&path)?,
        None => Vec::new(),
    };
    if !roots.is_empty() || !own.roots.is_empty() {
        roots.extend(own.roots);
        builder = builder.root_certs(RootCerts::new_with_certs(&roots));
    }
    Ok(builder.client_cert(own.client).build())
}

fn bundle() -> Option<PathBuf> {
    let named = std::env::var_os("SSL_CERT_FILE").map(PathBuf::from);
    named.into_iter().chain(BUNDLES.map(PathBuf::from)).find(|path| path.is_file())
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>> {
    let text = fs_err::read(path)?;
    // A bundle may hold what rustls does not know: the others still count.
    Ok(parse_pem(&text)
        .filter_map(|item| if let Ok(PemItem::Certificate(cert)) = item { Some(cert) } else { None })
        .collect())
}

/// `*.crt` are roots; `NAME.cert` and `NAME.key` are a client's.
#[derive(Default)]
struct Own {
    roots: Vec<Certificate<'static>>,
    client: Option<ClientCert>,
}

impl Own {
    fn read(registry: &str, cert_dir: Option<&Path>) -> Result<Own> {
        let mut own = Own::default();
        for dir in directories(registry, cert_dir) {
            let mut files: Vec<PathBuf> = match fs_err::read_dir(&dir) {
                Ok(entries) => entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound && cert_dir.is_none() => continue,
                Err(error) => return Err(error).context("certificates"),
            };
            files.sort();
            for file in files {
                match file.extension().and_then(|extension| extension.to_str()) {
                    Some("crt") => own.roots.extend(certificates(&file)?),
                    Some("cert") => {
                        let key = fs_err::read(file.with_extension("key"))?;
                        let key = PrivateKey::from_pem(&key).with_context(|| file.display().to_string())?;
                        own.client = Some(ClientCert::new_with_certs(&certificates(&file)?, key));
                    }
                    _ => {}
                }
            }
        }
        Ok(own)
    }
}

fn directories(registry: &str, cert_dir: Option<&Path>) -> Vec<PathBuf> {
    if let Some(dir) = cert_dir {
        return vec![dir.to_owned()];
    }
    let home = std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config/containers/certs.d"));
    let all = [Some("/etc/docker/certs.d".into()), Some("/etc/containers/certs.d".into()), home];
    all.into_iter().flatten().map(|dir: PathBuf| dir.join(registry)).collect()
}
