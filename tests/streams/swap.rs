//! Certificates that are replaced while clients come in.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use rustls::ClientConfig;
use rustls::client::Resumption;
use turnbuckle_tests::{Authority, CertificateFiles, CertificatePair, Signal};

use crate::certificates::{ALL_VERSIONS, trusting};
use crate::site::{CHANNEL, NAME, Site, connect, handshake};

#[test]
fn certificates_are_swapped_under_load_without_a_failed_handshake() {
    let (site, files) = start();
    let mut live = site.tls();
    site.serves(&mut live);
    let config = fresh_client(&site);
    let seen = Mutex::new(BTreeSet::new());
    let mut handshakes = 0;
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                scope.spawn(|| {
                    let mut count = 0;
                    while !done.load(Ordering::Relaxed) {
                        let leaf = leaf(&site, &config).expect("every handshake succeeds");
                        seen.lock().expect("no client panics").insert(leaf);
                        count += 1;
                    }
                    count
                })
            })
            .collect();
        for _ in 0..SWAPS {
            let pair = site.authority.issue(&[NAME]);
            // In between, certificate and key do not fit.
            CertificateFiles::replace(&files.cert, &pair.chain);
            reload(&site, "the certificates stay as they were");
            CertificateFiles::replace(&files.key, &pair.key);
            reload(&site, "the certificates are read anew");
            // From here on nobody gets the old one.
            let leaf = leaf(&site, &config).expect("every handshake succeeds");
            assert!(pair_has(&pair, &leaf));
            live.echo(CHANNEL, b"goes on");
        }
        done.store(true, Ordering::Relaxed);
        handshakes = clients
            .into_iter()
            .map(|client| client.join().expect("every handshake succeeds"))
            .sum();
    });
    let seen = seen.into_inner().expect("no client panics").len();
    println!("{handshakes} handshakes during {SWAPS} swaps met {seen} certificates");
    assert!(handshakes > 0 && seen > 1);
    site.serves(&mut site.tls());
    let log = site.server.stop();
    assert!(!log.contains("TLS handshake failed"), "{log}");
}

#[test]
fn a_broken_replacement_leaves_the_old_certificate() {
    let (site, files) = start();
    let config = fresh_client(&site);
    let old = leaf(&site, &config).expect("the handshake succeeds");
    let other = site.authority.issue(&[NAME]);
    let key = fs::read_to_string(&files.key).expect("the key is there");
    for (path, contents, restored) in [
        (&files.cert, "-----BEGIN CERTIFICATE-----\nMIIB", None),
        (&files.cert, "", None),
        (&files.cert, other.chain.as_str(), None),
        (&files.key, "no key", Some(&key)),
    ] {
        CertificateFiles::replace(path, contents);
        reload(&site, "the certificates stay as they were");
        assert_eq!(leaf(&site, &config).expect("the old certificate"), old);
        if let Some(restored) = restored {
            CertificateFiles::replace(path, restored);
        }
    }
    fs::remove_file(&files.cert).expect("the file is there");
    reload(&site, "the certificates stay as they were");
    assert_eq!(leaf(&site, &config).expect("the old certificate"), old);
    // And a good one is taken after all.
    let files = site.authority.write("turn", &other);
    assert!(files.cert.exists());
    reload(&site, "the certificates are read anew");
    let new = leaf(&site, &config).expect("the new certificate");
    assert!(pair_has(&other, &new) && new != old);
    site.server.stop();
}

#[test]
fn replaced_files_are_noticed_without_a_signal() {
    let (site, _) = start();
    let config = fresh_client(&site);
    let lone = site.authority.issue(&[NAME]).without_intermediate();
    site.authority.write("turn", &lone);
    site.server
        .expect_log("that the files were replaced", |line| {
            line.contains("the certificate files were replaced: new connections")
        });
    site.server
        .expect_log("what is wrong with the new one", |line| {
            line.contains("WARN") && line.contains("turn.cert.pem") && line.contains("intermediate")
        });
    // So the client cannot check it, and says so.
    leaf(&site, &config).expect_err("the intermediate is missing");
    site.server.stop();
}

fn start() -> (Site, CertificateFiles) {
    let authority = Authority::new();
    let files = authority.write("turn", &authority.issue(&[NAME]));
    let site = Site::start_as(authority, &files.config(), |builder| builder);
    (site, files)
}

/// A client that has to be shown a certificate each time.
fn fresh_client(site: &Site) -> Arc<ClientConfig> {
    let mut config = trusting(&site.authority, ALL_VERSIONS);
    config.resumption = Resumption::disabled();
    config.into()
}

/// The first certificate that a new connection gets.
fn leaf(site: &Site, config: &Arc<ClientConfig>) -> std::io::Result<Vec<u8>> {
    let stream = handshake(connect(site.encrypted()), config, NAME)?;
    let chain = stream.conn.peer_certificates().expect("a certificate");
    Ok(chain[0].to_vec())
}

/// Sends SIGUSR2 and waits for what comes of it.
fn reload(site: &Site, outcome: &str) {
    let before = site.server.log().matches("SIGUSR2: ").count();
    site.server.signal(Signal::USR2);
    let seen = Cell::new(0);
    let line = site.server.expect_log("what came of SIGUSR2", |line| {
        seen.set(seen.get() + usize::from(line.contains("SIGUSR2: ")));
        seen.get() > before
    });
    assert!(line.contains(outcome), "{line}");
}

fn pair_has(pair: &CertificatePair, leaf: &[u8]) -> bool {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    let first = CertificateDer::from_pem_slice(pair.chain.as_bytes()).expect("a certificate");
    &*first == leaf
}

const CLIENTS: usize = 3;
const SWAPS: usize = 20;
