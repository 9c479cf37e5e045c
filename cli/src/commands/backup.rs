//! `backup`: a consistent copy of the datastore, also while a launcher works on it.

use serde_json::json;
use wharf_protocol::{ErrorCode, Problem};

use super::Context;
use crate::args::admin::Backup;
use crate::failure::{Failure, Outcome};
use crate::paths;

pub(super) fn run(context: &Context, args: &Backup) -> Outcome {
    let db = paths::data_dir(&context.global)?.join("wharf.db");
    if !db.is_file() {
        let detail = format!("there is no datastore at {}", db.display());
        return Err(Problem::new(ErrorCode::NotFound, detail)
            .hint("--data-dir names another directory")
            .into());
    }
    if args.file.symlink_metadata().is_ok() {
        let detail = format!("{} exists already", args.file.display());
        return Err(Problem::new(ErrorCode::AlreadyExists, detail).into());
    }
    let directory = args.file.parent().filter(|path| !path.as_os_str().is_empty());
    if let Some(directory) = directory.filter(|path| !path.is_dir()) {
        return Err(Failure::usage(format!("there is no directory {}", directory.display())));
    }
    wharf_store::backup_file(&db, &args.file)
        .map_err(|error| Problem::new(ErrorCode::Internal, format!("the backup failed: {error}")))?;
    let file = args.file.display().to_string();
    if context.output.format == crate::args::Format::Table {
        context.output.tip(&format!(
            "written to {file}; the signing keys in keys/ beside the datastore are not part of it"
        ));
        return Ok(0);
    }
    context.output.object(&json!({ "id": file, "file": file }), String::new)?;
    Ok(0)
}
