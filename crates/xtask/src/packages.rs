//! Installs the Debian packages that the interop tests drive and valgrind, and says what it does.
//!
//! Must not touch the host beyond `apt-get install`: a service that a freshly installed package starts is stopped again.

use std::env;
use std::path::Path;
use std::process::Command;

use crate::steps::Steps;

/// Installs what is missing with `apt-get`, as root or through `sudo -n`. What cannot be installed is only
/// reported here: the tests that need it say SKIPPED, or fail when `CI=true`.
pub(crate) fn install_missing(steps: &mut Steps) {
    install(steps, PACKAGES);
}

/// The C++ compiler that libFuzzer is built with, likewise.
pub(crate) fn install_compiler(steps: &mut Steps) {
    install(steps, &[COMPILER]);
}

fn install(steps: &mut Steps, packages: &[Package]) {
    let missing: Vec<&Package> = packages
        .iter()
        .filter(|package| !package.is_present())
        .collect();
    for package in packages {
        let state = if package.is_present() {
            "present"
        } else {
            "missing"
        };
        println!("{state}: {}", package.name);
    }
    if missing.is_empty() {
        return;
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    let Some(apt_get) = AptGet::found() else {
        println!(
            "cannot install {}: this needs root or passwordless sudo, and apt-get",
            names.join(" ")
        );
        return;
    };
    steps.run("package lists", apt_get.command().args(["-qq", "update"]));
    steps.run(
        "packages",
        apt_get
            .command()
            .args([
                "-qq",
                "-y",
                "--no-install-recommends",
                "-o",
                "Dpkg::Use-Pty=0",
                "-o",
                "DPkg::Lock::Timeout=120",
                "install",
            ])
            .args(&names),
    );
    // Only their tools are wanted; the packages would also serve ports from now on.
    for (name, step) in [
        ("coturn", "coturn's service off"),
        ("prometheus", "prometheus' service off"),
        ("prosody", "prosody's service off"),
        ("ejabberd", "ejabberd's service off"),
        ("janus", "janus' service off"),
    ] {
        if names.contains(&name) && Path::new("/run/systemd/system").exists() {
            steps.run(
                step,
                apt_get.privileged("systemctl").args([
                    "disable",
                    "--now",
                    &format!("{name}.service"),
                ]),
            );
        }
    }
}

struct Package {
    name: &'static str,
    /// The program the tests look for; `None` for a library, which only dpkg knows of.
    program: Option<&'static str>,
}

impl Package {
    fn is_present(&self) -> bool {
        match self.program {
            Some(program) => find_program(program),
            None => Command::new("dpkg-query")
                .args(["--show", "--showformat=${db:Status-Status}", self.name])
                .output()
                .is_ok_and(|output| output.stdout == b"installed"),
        }
    }
}

struct AptGet {
    sudo: bool,
}

impl AptGet {
    fn found() -> Option<Self> {
        if !find_program("apt-get") {
            return None;
        }
        if succeeds(Command::new("test").args(["-w", "/var/lib/dpkg"])) {
            return Some(Self { sudo: false });
        }
        (find_program("sudo") && succeeds(Command::new("sudo").args(["-n", "true"])))
            .then_some(Self { sudo: true })
    }

    fn command(&self) -> Command {
        self.privileged("apt-get")
    }

    fn privileged(&self, program: &str) -> Command {
        if self.sudo {
            let mut command = Command::new("sudo");
            command.args(["-n", "DEBIAN_FRONTEND=noninteractive", program]);
            command
        } else {
            let mut command = Command::new(program);
            command.env("DEBIAN_FRONTEND", "noninteractive");
            command
        }
    }
}

/// Whether a program of this name can be run.
pub(crate) fn find_program(program: &str) -> bool {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .any(|directory| directory.join(program).is_file())
}

fn succeeds(command: &mut Command) -> bool {
    command.output().is_ok_and(|output| output.status.success())
}

const PACKAGES: &[Package] = &[
    Package {
        name: "coturn",
        program: Some("turnutils_uclient"),
    },
    Package {
        name: "chromium",
        program: Some("chromium"),
    },
    Package {
        name: "chromium-driver",
        program: Some("chromedriver"),
    },
    Package {
        name: "iproute2",
        program: Some("ip"),
    },
    // Closes ports of a host in a network namespace.
    Package {
        name: "iptables",
        program: Some("iptables"),
    },
    // A host whose clock is wrong.
    Package {
        name: "faketime",
        program: Some("faketime"),
    },
    // For a browser that trusts the tests' own authority.
    Package {
        name: "libnss3-tools",
        program: Some("certutil"),
    },
    // Judges the unit file.
    Package {
        name: "systemd",
        program: Some("systemd-analyze"),
    },
    // What the pages say is done with keys and certificates.
    Package {
        name: "openssl",
        program: Some("openssl"),
    },
    // Consumers of a TURN server that read what is printed for them.
    Package {
        name: "prosody",
        program: Some("prosody"),
    },
    Package {
        name: "ejabberd",
        program: Some("ejabberdctl"),
    },
    Package {
        name: "janus",
        program: Some("janus"),
    },
    // Bundle what the pages of the browser tests are made of, and install it.
    Package {
        name: "nodejs",
        program: Some("node"),
    },
    Package {
        name: "npm",
        program: Some("npm"),
    },
    // Where Synapse is installed.
    Package {
        name: "python3-venv",
        program: None,
    },
    // Counts instructions.
    Package {
        name: "valgrind",
        program: Some("valgrind"),
    },
    // A system that the packages are installed in, and what builds and judges them.
    Package {
        name: "debootstrap",
        program: Some("debootstrap"),
    },
    Package {
        name: "systemd-container",
        program: Some("systemd-nspawn"),
    },
    Package {
        name: "dpkg-dev",
        program: Some("dpkg-shlibdeps"),
    },
    Package {
        name: "rpm",
        program: Some("rpmbuild"),
    },
    Package {
        name: "lintian",
        program: Some("lintian"),
    },
    // Prometheus' own checker of metrics, and its parsers of both forms.
    Package {
        name: "prometheus",
        program: Some("promtool"),
    },
    Package {
        name: "python3-prometheus-client",
        program: None,
    },
    Package {
        name: "python3-gi",
        program: None,
    },
    Package {
        name: "gir1.2-nice-0.1",
        program: None,
    },
];

const COMPILER: Package = Package {
    name: "g++",
    program: Some("c++"),
};
