//! Black-box tests of the built programs, through the doors that users have.
//!
//! One module for each claim of the product; what is shared lives in the harness (`tests/src`). Tests
//! whose names end in `_in_time` measure time and run alone.

mod applications;
mod bad_input;
mod cli_output;
mod config;
mod demo;
mod docker;
mod docker_apps;
mod docker_engine;
mod docker_everywhere;
mod docker_podman;
mod docker_pull;
mod docker_remote;
mod ends;
mod events;
mod forwarding;
mod gridengine;
mod hook_kinds;
mod hooks;
mod idempotency;
mod kills;
mod lifecycle;
mod limits;
mod list;
mod logs;
mod outage;
mod page;
mod params;
mod pools;
mod purge;
mod reappear;
mod recovery;
mod requeue;
mod restart;
mod secrets;
mod sharing;
mod sign_in;
mod site_templates;
mod slurm;
mod slurm_applications;
mod slurm_enrolment;
mod slurm_faults;
mod slurm_network;
mod ssh;
mod storage;
mod streams;
mod submit;
mod sweep;
mod task_spooler;
mod template_bench;
mod terminals;
mod terminate;
mod terminate_running;
mod tokens;
