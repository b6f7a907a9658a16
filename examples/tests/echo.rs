//! The two programs together: the client relays through the embedded server.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

#[test]
fn the_client_relays_through_the_embedded_server() {
    for ip in ["127.0.0.1", "[::1]"] {
        let mut server = Server(
            Command::new(env!("CARGO_BIN_EXE_embed"))
                .args([&format!("{ip}:0"), "alice", "wonderland"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap(),
        );
        let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
        let first = lines.next().unwrap().unwrap();
        let address = first.strip_prefix("listening on ").unwrap();

        let client = |password: &str| {
            Command::new(env!("CARGO_BIN_EXE_minimal_client"))
                .args([address, "alice", password])
                .output()
                .unwrap()
        };
        let output = client("wonderland");
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.ends_with("echo: hello\n"), "{text}");

        let output = client("guessed");
        assert!(!output.status.success());
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.contains("Allocate was refused with 401"), "{text}");
    }
}

/// Ends with the test, however that ends.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
