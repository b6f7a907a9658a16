//! Which CPU a shard runs on.

use turnbuckle_net::{allowed_cpus, useful_parallelism};

/// The CPU of each shard of a kind, if there is one shard for each CPU that the process may use and no quota takes a part of them
/// away. Otherwise the kernel places the shards better.
pub(crate) fn cpus_of(shards: usize) -> Option<Vec<usize>> {
    let allowed = allowed_cpus().unwrap_or_default();
    let parallelism = useful_parallelism();
    let one_each = allowed.len() == shards && parallelism == shards;
    if one_each {
        tracing::debug!("shards are pinned to the CPUs {allowed:?}, one of each kind to each");
    } else {
        tracing::debug!(
            "shards are not pinned: there are {shards} of each kind, and {} CPUs of which {parallelism} may be used at a time",
            allowed.len()
        );
    }
    one_each.then_some(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_shard_for_each_cpu_is_pinned() {
        let allowed = allowed_cpus().unwrap();
        let no_quota = useful_parallelism() == allowed.len();
        let count = allowed.len();
        assert_eq!(cpus_of(count), no_quota.then_some(allowed));
        assert_eq!(cpus_of(count + 1), None);
        assert_eq!(cpus_of(count - 1), None);
    }
}
