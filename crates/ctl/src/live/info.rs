//! `turnctl info`: seven lines, of which the first three are those of eturnalctl.

use serde::Deserialize;

use super::Client;
use crate::Output;
use crate::cli::LookArgs;
use crate::failure::Failure;

#[derive(Deserialize)]
struct Info {
    version: String,
    system: String,
    uptime_seconds: u64,
    sessions: u64,
    threads: u64,
    cpu_seconds: f64,
    resident_memory_bytes: u64,
    queue_drops: QueueDrops,
}

/// What found no room.
#[derive(Deserialize)]
struct QueueDrops {
    kernel_receive: u64,
    between_shards: u64,
    slow_readers: u64,
    log: u64,
}

pub(crate) fn run(args: &LookArgs) -> Result<Output, Failure> {
    let client = Client::new(&args.socket);
    if args.json {
        return super::object(&client, "/v1/info");
    }
    client.get("/v1/info").map(|info| Output::new(lines(&info)))
}

fn lines(info: &Info) -> String {
    let seconds = info.uptime_seconds;
    let drops = &info.queue_drops;
    let all = [
        drops.kernel_receive,
        drops.between_shards,
        drops.slow_readers,
        drops.log,
    ];
    format!(
        "Turnbuckle {} on {}\n\
         Uptime: {} days, {} hours, {} minutes, {} seconds\n\
         Active TURN sessions: {}\n\
         Threads: {}\n\
         Total CPU usage (seconds): {:.2}\n\
         Resident memory (MiB): {}\n\
         Queue drops: {} (kernel receive {}, between shards {}, slow readers {}, log {})\n",
        info.version,
        info.system,
        seconds / 86_400,
        seconds / 3_600 % 24,
        seconds / 60 % 60,
        seconds % 60,
        info.sessions,
        info.threads,
        info.cpu_seconds,
        info.resident_memory_bytes.div_ceil(1 << 20),
        all.iter().copied().fold(0, u64::saturating_add),
        drops.kernel_receive,
        drops.between_shards,
        drops.slow_readers,
        drops.log,
    )
}
