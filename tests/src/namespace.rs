//! Network namespaces with addresses of their own, so that a test has several hosts and the real one stays untouched.

use std::net::IpAddr;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{self, Command};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

/// A network namespace with its loopback up; removed when dropped. Making one needs root and `ip`
/// (see [`Requirement`](crate::Requirement)).
#[derive(Debug)]
pub struct Namespace {
    name: String,
}

impl Namespace {
    /// Makes an empty namespace.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn new() -> Self {
        let namespace = Self {
            name: format!("tb-{}-{}", process::id(), next()),
        };
        ip(&["netns", "add", &namespace.name]);
        ip(&["-n", &namespace.name, "link", "set", "lo", "up"]);
        namespace
    }

    /// Makes two namespaces joined by a cable, the first with `left` and the second with `right` on its end.
    /// IPv4 addresses are in one /24 and IPv6 addresses in one /64.
    ///
    /// # Panics
    /// If `ip` fails.
    pub fn linked_pair(left: &[IpAddr], right: &[IpAddr]) -> (Self, Self) {
        let pair = (Self::new(), Self::new());
        ip(&[
            "link",
            "add",
            "name",
            "veth0",
            "netns",
            &pair.0.name,
            "type",
            "veth",
            "peer",
            "name",
            "veth0",
            "netns",
            &pair.1.name,
        ]);
        for (namespace, addresses) in [(&pair.0, left), (&pair.1, right)] {
            for address in addresses {
                let length = if address.is_ipv4() { 24 } else { 64 };
                let address = format!("{address}/{length}");
                let mut arguments = vec![
                    "-n",
                    &namespace.name,
                    "address",
                    "add",
                    &address,
                    "dev",
                    "veth0",
                ];
                if address.contains(':') {
                    arguments.push("nodad");
                }
                ip(&arguments);
            }
            ip(&["-n", &namespace.name, "link", "set", "veth0", "up"]);
        }
        pair
    }

    /// The file that stands for it.
    pub fn path(&self) -> PathBuf {
        Path::new("/run/netns").join(&self.name)
    }

    /// A command that runs `program` inside.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name])
            .arg(program.as_ref());
        command
    }

    /// Runs `work` on a thread of its own inside; sockets made there stay there.
    ///
    /// # Panics
    /// If `work` does, or the namespace is gone.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let path = self.path();
        thread::scope(|scope| {
            let worker = scope.spawn(move || {
                let file = std::fs::File::open(&path).expect("the namespace exists");
                move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network))
                    .expect("root may enter a namespace");
                work()
            });
            worker
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip")
            .args(["netns", "delete", &self.name])
            .output();
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip")
        .args(arguments)
        .output()
        .expect("ip runs");
    assert!(
        output.status.success(),
        "ip {} failed: {}",
        arguments.join(" "),
        String::from_utf8_lossy(&output.stderr)
    );
}

fn next() -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed)
}
