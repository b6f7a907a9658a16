//! What `turnctl snippet` prints for programs whose configuration is a program: run by an interpreter of its language.

use std::fs;
use std::process::Command;

use turnbuckle_tests::{Requirement, turnctl};

#[test]
fn lua_reads_what_is_printed_for_prosody_and_jitsi() {
    if !Requirement::all_met(&[Requirement::Program("lua5.4")]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("turnserver.conf");
    let secret = "0f1e\"2d\\3c'4b#5a--[[69]]78$87";
    fs::write(
        &config,
        format!("static-auth-secret={secret}\ncert=/c\npkey=/k\n"),
    )
    .unwrap();
    for consumer in ["prosody", "jitsi"] {
        let printed = Command::new(turnctl())
            .args(["snippet", consumer, "--host", "turn.example.org", "-c"])
            .arg(&config)
            .output()
            .unwrap();
        assert!(printed.status.success(), "{printed:?}");
        let file = directory.path().join(consumer);
        fs::write(&file, &printed.stdout).unwrap();
        let output = Command::new("lua5.4")
            .args(["-e", READ])
            .arg(&file)
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(
            String::from_utf8(output.stdout).unwrap(),
            format!(
                "{secret}\nstun udp turn.example.org 3478 nil\nturn udp turn.example.org 3478 true\n\
                 turn tcp turn.example.org 3478 true\nturns tcp turn.example.org 5349 true\n"
            ),
            "{consumer}"
        );
    }
}

/// Loads the file as Prosody loads its configuration, with names of its own, and prints what it says.
const READ: &str = r#"
local set = {}
assert(loadfile(arg[0], "t", set))()
print(set.external_service_secret)
for _, service in ipairs(set.external_services) do
    print(service.type .. " " .. service.transport .. " " .. service.host .. " " .. service.port .. " " .. tostring(service.secret))
end
"#;
