//! Answers as sinfo(1) and sacctmgr(1) document them (Slurm 20.11 to 25.05).

use serde_json::json;

use super::*;

#[test]
fn partitions_have_what_their_largest_nodes_have() {
    let text = "\
slurm_load: a warning that a site prints
long|up|7-00:00:00|long|64|256000|(null)
short|up|1:00:00|short*|64|256000+|gpu:a100:4(S:0,1),shard:8
short|up|1:00:00|short*|128|64000|gpu:2
old|down|infinite|old
gold|up|30:00|gold|odd|1|gpuish:4,gpu:h100:2(S:0),gpu:v100:1
";
    let found = json!(partitions(text));
    let of = |member: &str| -> Vec<serde_json::Value> {
        found.as_array().unwrap().iter().map(|one| one[member].clone()).collect()
    };
    assert_eq!(of("name"), ["short", "long", "old", "gold"]);
    assert_eq!(of("default"), [true, false, false, false]);
    assert_eq!(of("available"), [true, true, false, true]);
    assert_eq!(of("time_limit"), ["1:00:00", "7-00:00:00", "infinite", "30:00"]);
    assert_eq!(of("longest"), [json!("1h"), json!("7days"), json!(null), json!("30m")]);
    assert_eq!(of("cpus"), [128, 64, 0, 0]);
    assert_eq!(of("memory_mib"), [256_000, 256_000, 0, 1]);
    assert_eq!(of("gpus"), [4, 0, 0, 3]);
}

#[test]
fn accounts_and_qualities_of_service_come_once() {
    let (accounts, qos) = associations("physics|normal,high\nphysics|normal\nchemistry|\n|x\n");
    assert_eq!(accounts, ["physics", "chemistry"]);
    assert_eq!(qos, ["normal", "high"]);
}
