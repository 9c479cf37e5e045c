//! What is made of the commands' answers, odd ones included. Programs are small scripts on a path of the test's own.

use std::os::unix::fs::PermissionsExt as _;

use wharf_core::hook::JobReport;
use wharf_protocol::JobState;

use super::*;

const ID: &str = "k3v9x2m7q4t8w1z6b5n0";
const OTHER: &str = "abcdefghjkmnpqrstvw1";

fn job() -> Sbatch {
    serde_json::from_value(json!({ "script": "#!/bin/sh\n", "tag": ID, "output": "/s/job.log" })).unwrap()
}

#[test]
fn values_are_single_words_and_never_options() {
    let mut job = job();
    job.partition = Some("gpu".to_owned());
    job.time = Some("90s".parse().unwrap());
    job.memory = Some("2GiB".to_owned());
    job.gpus = Some(0);
    job.output = "/s/50%j/job.log".to_owned();
    let argv = submit::argv(&job).unwrap();
    for wanted in [
        "--partition=gpu",
        "--time=2",
        "--mem=2048M",
        "--no-requeue",
        "--output=/s/50%%j/job.log",
        "--export=NIL",
    ] {
        assert!(argv.iter().any(|word| word == wanted), "{wanted}: {argv:?}");
    }
    assert!(argv.contains(&format!("--job-name={ID}")) && argv.contains(&format!("--comment={ID}")));
    assert!(!argv.iter().any(|word| word.starts_with("--gpus")), "{argv:?}");
    for bad in ["--wrap=id", "-", "a\n#SBATCH --wrap=id", "a\0b"] {
        job.partition = Some(bad.to_owned());
        assert_eq!(submit::argv(&job).unwrap_err().kind, HookErrorKind::Invalid, "{bad:?}");
    }
    job.partition = None;
    job.options = vec!["id".to_owned()];
    assert_eq!(submit::argv(&job).unwrap_err().kind, HookErrorKind::Misconfigured);
}

/// Programs of Slurm's names, in sh.
struct Fake(tempfile::TempDir);

impl Fake {
    fn new(programs: &[(&str, &str)]) -> Self {
        let fake = Self(tempfile::tempdir().unwrap());
        for (name, body) in programs {
            fake.put(name, body);
        }
        fake
    }

    fn put(&self, name: &str, body: &str) {
        let path = self.0.path().join(name);
        let fresh = path.with_extension("new");
        let calls = self.0.path().join("calls").display().to_string();
        std::fs::write(&fresh, format!("#!/bin/sh\necho {name} \"$@\" >> {calls}\n{body}\n")).unwrap();
        std::fs::set_permissions(&fresh, std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    fn calls(&self) -> String {
        std::fs::read_to_string(self.0.path().join("calls")).unwrap_or_default()
    }

    async fn call(&self, function: &str, arguments: Value) -> Result<Value, HostError> {
        self.call_within(function, arguments, Duration::from_secs(10)).await
    }

    fn context(&self, left: Duration) -> HostContext {
        let path = format!("{}:/usr/bin:/bin", self.0.path().display());
        HostContext {
            session: None,
            base: vec![
                ("PATH".to_owned(), path),
                ("USER".to_owned(), "alice".to_owned()),
                ("SQUEUE_FORMAT".to_owned(), "%i".to_owned()),
                ("SBATCH_PARTITION".to_owned(), "evil".to_owned()),
            ],
            programs: Vec::new(),
            env: vec![("SLURM_CONF".to_owned(), "/site/slurm.conf".to_owned())],
            config: serde_json::Value::Null,
            progress: None,
            mark: String::new(),
            processes: Arc::new(NoCall),
            left,
            cancel: CancellationToken::new(),
        }
    }

    async fn call_within(
        &self,
        function: &str,
        arguments: Value,
        left: Duration,
    ) -> Result<Value, HostError> {
        Slurm::new("slurm", Cluster::default()).call(function, arguments, &self.context(left)).await
    }
}

#[tokio::test]
async fn the_script_arrives_on_standard_input_with_a_clean_environment() {
    let fake = Fake::new(&[(
        "sbatch",
        "env >&2; cat > \"$(dirname \"$0\")/script\"; env > \"$(dirname \"$0\")/env\"; echo 77",
    )]);
    let script = format!("#!/bin/sh\n{}exec true\n", "# long\n".repeat(40_000));
    let answer = fake
        .call("sbatch", json!({"script": script, "tag": ID, "output": "/s/job.log", "options": {}}))
        .await;
    assert_eq!(answer.unwrap(), json!({"job_id": "77"}));
    assert_eq!(std::fs::read_to_string(fake.0.path().join("script")).unwrap(), script);
    let env = std::fs::read_to_string(fake.0.path().join("env")).unwrap();
    assert!(env.contains("SLURM_CONF=/site/slurm.conf\n"), "{env}");
    assert!(
        !env.contains("SQUEUE_FORMAT") && !env.contains("SBATCH_PARTITION") && !env.contains("TZ="),
        "{env}"
    );
}

#[tokio::test]
async fn a_submit_is_sure_or_unknown() {
    let job = json!({"script": "#!/bin/sh\n", "tag": ID, "output": "/s/job.log"});
    let table = [
        ("echo nothing", HookErrorKind::CommandFailed),
        ("echo 77; echo 'Invalid partition name specified' >&2; exit 1", HookErrorKind::CommandFailed),
        ("kill -9 $$", HookErrorKind::CommandFailed),
        (
            "echo 'sbatch: error: Batch job submission failed: Invalid qos specification' >&2; exit 1",
            HookErrorKind::Invalid,
        ),
    ];
    for (body, kind) in table {
        let error = Fake::new(&[("sbatch", body)]).call("sbatch", job.clone()).await.unwrap_err();
        assert_eq!(error.kind, kind, "{body}: {error}");
    }
    let slow = Fake::new(&[("sbatch", "exec sleep 30")]);
    let error = slow.call_within("sbatch", job.clone(), Duration::from_millis(600)).await.unwrap_err();
    assert_eq!(error.kind, HookErrorKind::Timeout);
}

#[tokio::test]
async fn only_slurms_own_word_makes_a_job_gone() {
    let squeue = r#"case "$*" in
  *--user=alice*) echo '1|RUNNING|0|0|n1|N/A|N/A|None|'; echo '9|RUNNING|0|0|n1|N/A|N/A|None|' ;;
  *--jobs=2) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;;
  *--jobs=3) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;;
  *--jobs=4) echo 'slurm_load_jobs error: Unable to contact slurm controller (connect failure)' >&2; exit 1 ;;
esac"#;
    let fake = Fake::new(&[("squeue", squeue), ("sacct", "echo '2|TIMEOUT|0:0|a|b|n1|None'")]);
    let answer = fake.call("status", json!({"job_ids": ["1", "2", "3", "4", "x y"]})).await.unwrap();
    assert_eq!(answer["1"]["state"], "running");
    assert_eq!((&answer["2"]["state"], &answer["2"]["cause"]), (&json!("ended"), &json!("timeout")));
    assert_eq!(answer["3"], json!({"state": "gone"}));
    assert_eq!(answer.as_object().unwrap().len(), 3, "{answer}");
}

#[tokio::test]
async fn silence_and_glitches_are_no_answer() {
    for body in [
        "",
        "exit 1",
        "echo 'Socket timed out' >&2; exit 1",
        "head -c 20000000 /dev/zero",
        "echo half|a|line",
    ] {
        let fake = Fake::new(&[("squeue", body), ("sacct", "exit 1")]);
        let answer = fake.call("status", json!({"job_ids": ["1", "2"]})).await;
        assert!(answer.as_ref().map_or(true, |answer| *answer == json!({})), "{body}: {answer:?}");
    }
    let squeue = r#"case "$*" in *--jobs=1*) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;; esac"#;
    let gone = Fake::new(&[("squeue", squeue), ("sacct", "exit 1")]);
    assert_eq!(
        gone.call("status", json!({"job_ids": ["1"]})).await.unwrap(),
        json!({"1": {"state": "gone"}})
    );
}

/// A squeue whose list has only job 1, and what it says of single ones.
fn one_by_one(singly: &str) -> Fake {
    let squeue = format!(
        r#"case "$*" in
  {singly}
  *--jobs=*) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;;
  *) echo '1|RUNNING|0|0|n1|N/A|N/A|None|' ;;
esac"#
    );
    Fake::new(&[("squeue", &squeue), ("sacct", "exit 1")])
}

#[tokio::test]
async fn forgotten_jobs_are_asked_about_in_portions_and_all_have_their_turn() {
    let fake = one_by_one("");
    let slurm = Slurm::new("slurm", Cluster::default());
    let ids: Vec<String> = (1..=60).map(|id| id.to_string()).collect();
    let ask = async || {
        let context = fake.context(Duration::from_secs(30));
        let answer = slurm.call("status", json!({"job_ids": ids}), &context).await.unwrap();
        answer.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>()
    };
    let (first, second) = (ask().await, ask().await);
    assert_eq!((first.len(), second.len()), (41, 41));
    assert_eq!(first.union(&second).count(), 60);
}

#[tokio::test]
async fn an_odd_job_stops_no_other_and_is_not_asked_about_at_once_again() {
    let fake = one_by_one("*--jobs=2) echo 'something that nobody has seen' >&2; exit 1 ;;");
    let slurm = Slurm::new("slurm", Cluster::default());
    for _ in 0..2 {
        let context = fake.context(Duration::from_secs(10));
        let answer = slurm.call("status", json!({"job_ids": ["1", "2", "3"]}), &context).await.unwrap();
        assert_eq!((&answer["1"]["state"], &answer["3"]["state"]), (&json!("running"), &json!("gone")));
        assert!(answer["2"].is_null(), "{answer}");
    }
    let calls = fake.calls();
    let of =
        |job: &str| calls.lines().filter(|line| line.starts_with("squeue") && line.ends_with(job)).count();
    assert_eq!((of("--jobs=2"), of("--jobs=3")), (1, 2), "{calls}");
}

#[tokio::test]
async fn a_question_that_hangs_costs_nothing_that_is_known() {
    let fake = one_by_one("*--jobs=2) exec sleep 30 ;;");
    let ask = fake.call_within("status", json!({"job_ids": ["1", "2", "1;away"]}), Duration::from_secs(4));
    let answer = ask.await.unwrap();
    assert_eq!((&answer["1"]["state"], &answer["2"]), (&json!("running"), &json!(null)), "{answer}");
    assert_eq!(answer["1;away"]["state"], "running", "{answer}");
    let silent = Fake::new(&[(
        "squeue",
        "case \"$*\" in *--clusters=away*) exec sleep 30 ;; esac; echo '1|RUNNING|0|0|n1|N/A|N/A|None|'",
    )]);
    let ask = silent.call_within("status", json!({"job_ids": ["1", "1;away"]}), Duration::from_secs(3));
    let answer = ask.await.unwrap();
    assert_eq!((&answer["1"]["state"], &answer["1;away"]), (&json!("running"), &json!(null)), "{answer}");
}

#[tokio::test]
async fn one_question_serves_many_jobs() {
    let fake = Fake::new(&[(
        "squeue",
        "for i in $(seq 1 500); do echo \"$i|PENDING|0|0||N/A|N/A|Priority|\"; done",
    )]);
    let ids: Vec<String> = (1..=500).map(|id| id.to_string()).collect();
    let answer = fake.call("status", json!({"job_ids": ids})).await.unwrap();
    assert_eq!((answer.as_object().unwrap().len(), fake.calls().lines().count()), (500, 1));
}

#[tokio::test]
async fn templates_that_ask_together_share_one_question() {
    let fake = Fake::new(&[(
        "squeue",
        "sleep 0.2; for i in 1 2 3; do echo \"$i|PENDING|0|0||N/A|N/A|Priority|\"; done",
    )]);
    let slurm = Slurm::new("slurm", Cluster::default());
    let ask = async |id: &str| {
        let mut context = fake.context(Duration::from_secs(10));
        context.mark = format!("instance:{id}");
        context.base.push(("WHARF_INSTANCE".to_owned(), context.mark.clone()));
        slurm.call("status", json!({"job_ids": [id]}), &context).await.unwrap()
    };
    let (one, two, three) = tokio::join!(ask("1"), ask("2"), ask("3"));
    assert_eq!(
        (&one["1"]["state"], &two["2"]["state"], &three["3"]["state"]),
        (&json!("queued"), &json!("queued"), &json!("queued"))
    );
    assert_eq!(fake.calls().lines().count(), 1, "{}", fake.calls());
}

#[tokio::test]
async fn jobs_that_are_younger_than_the_last_answer_cost_one_question_together() {
    let fake = Fake::new(&[(
        "squeue",
        "for i in $(seq 1 $(wc -l < \"${0%/*}/calls\" | sed 's/1/3/;s/2/60/')); do echo \"$i|PENDING|0|0||N/A|N/A|Priority|\"; done",
    )]);
    let slurm = Slurm::new("slurm", Cluster::default());
    let ask = async |last: u32| {
        let ids: Vec<String> = (1..=last).map(|id| id.to_string()).collect();
        let context = fake.context(Duration::from_secs(10));
        slurm.call("status", json!({"job_ids": ids}), &context).await.unwrap().as_object().unwrap().len()
    };
    assert_eq!((ask(3).await, ask(2).await, fake.calls().lines().count()), (3, 2, 1));
    assert_eq!((ask(60).await, fake.calls().lines().count()), (60, 2), "{}", fake.calls());
}

#[tokio::test]
async fn jobs_are_found_by_tag_and_a_failed_look_says_nothing() {
    let rows = format!(
        "echo '12|PENDING|2026-01-01T10:00:01|{ID}|'; echo '7|CANCELLED|2026-01-01T10:00:00|{ID}|'; echo '5|RUNNING|2026-01-01T09:00:00|{ID}x|'"
    );
    let fake = Fake::new(&[
        ("squeue", &rows),
        ("sacct", "echo '3|FAILED|2025-12-31T10:00:00|abcdefghjkmnpqrstvw1'"),
    ]);
    let answer = fake.call("find", json!({"tags": [ID, OTHER]})).await.unwrap();
    assert_eq!(answer, json!({ID: ["12", "7"], OTHER: ["3"]}));
    let none = Fake::new(&[("squeue", ""), ("sacct", "exit 1")]);
    assert_eq!(none.call("find", json!({"tags": [ID]})).await.unwrap(), json!({ID: false}));
    let down = Fake::new(&[(
        "squeue",
        "echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1",
    )]);
    assert_eq!(down.call("find", json!({"tags": [ID]})).await.unwrap_err().kind, HookErrorKind::Unavailable);
}

#[tokio::test]
async fn a_cancel_is_judged_job_by_job() {
    let body = "echo 'scancel: error: Kill job error on job id 2: Access/permission denied' >&2
echo 'scancel: error: Kill job error on job id 3: Invalid job id specified' >&2; exit 1";
    let fake = Fake::new(&[("scancel", body)]);
    let answer = fake.call("scancel", json!({"job_ids": ["1", "2", "3"]})).await.unwrap();
    assert_eq!((&answer["1"], &answer["3"]), (&json!({}), &json!({})), "{answer}");
    assert_eq!(answer["2"]["error"]["kind"], "denied");
    fake.put(
        "scancel",
        "echo 'scancel: error: Unable to contact slurm controller (connect failure)' >&2; exit 1",
    );
    let answer = fake.call("scancel", json!({"job_ids": ["1", "2"]})).await.unwrap();
    for id in ["1", "2"] {
        assert_eq!(answer[id]["error"]["kind"], "unavailable", "{answer}");
    }
}

#[tokio::test]
async fn many_jobs_are_ended_or_signalled_by_one_command() {
    let fake = Fake::new(&[("scancel", "")]);
    let ids: Vec<String> = (1..=150).map(|id| id.to_string()).collect();
    let answer = fake.call("scancel", json!({"job_ids": ids})).await.unwrap();
    assert_eq!((answer.as_object().unwrap().len(), fake.calls().lines().count()), (150, 1));
    let away = json!({"job_ids": ["7;west", "8"], "signal": "USR1"});
    assert_eq!(fake.call("scancel", away).await.unwrap(), json!({"7;west": {}, "8": {}}));
    for wanted in ["scancel --signal=USR1 --full 8\n", "scancel --signal=USR1 --full --clusters=west 7\n"] {
        assert!(fake.calls().contains(wanted), "{wanted}: {}", fake.calls());
    }
    let odd = json!({"job_ids": ["8"], "signal": "USR1 --user=root"});
    assert_eq!(fake.call("scancel", odd).await.unwrap_err().kind, HookErrorKind::Misconfigured);
    let none = fake.call("scancel", json!({"job_ids": ["--user=root"]})).await.unwrap();
    assert_eq!(none["--user=root"]["error"]["kind"], "invalid");
}

#[tokio::test]
async fn only_a_job_that_has_begun_and_has_a_limit_is_given_more_time() {
    let squeue = "case \"$*\" in *--jobs=1) echo '1|PENDING|0|0||N/A|N/A|Priority|' ;;
  *--jobs=2) echo '2|RUNNING|0|0|n1|2026-01-01T10:00:00|2026-01-01T12:30:00|None|' ;;
  *--jobs=4) echo '4|RUNNING|0|0|n1|2026-01-01T10:00:00|NONE|None|' ;;
  *) echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1 ;; esac";
    let fake = Fake::new(&[("squeue", squeue), ("scontrol", "")]);
    let extend = async |id: &str| fake.call("extend", json!({"job_id": id, "by_seconds": 90})).await;
    for id in ["1", "4"] {
        assert_eq!(extend(id).await.unwrap_err().kind, HookErrorKind::Invalid, "{id}");
    }
    assert_eq!(extend("3").await.unwrap_err().kind, HookErrorKind::NotFound);
    assert!(!fake.calls().contains("scontrol"), "{}", fake.calls());
    assert_eq!(extend("2").await.unwrap(), json!({"ends_at": "2026-01-01T12:30:00Z"}));
    assert!(fake.calls().contains("scontrol update JobId=2 TimeLimit=+2\n"), "{}", fake.calls());
}

#[test]
fn reports_leave_out_what_is_not_known() {
    let report = JobReport { state: JobState::Running, ..JobReport::default() };
    assert_eq!(reports(&[("1".to_owned(), report)].into()), json!({"1": {"state": "running"}}));
}
