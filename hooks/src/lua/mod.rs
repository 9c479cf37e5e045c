//! placeholder
use crate::load::files::Files;
use crate::runtime::Context;
use serde_json::Value;
use std::sync::Arc;
use wharf_core::hook::HookError;
use wharf_protocol::template::Finding;
pub(crate) fn hooks_of(files: &Files, _out: &mut Vec<Finding>) -> Option<Vec<String>> {
    let _ = files.text("hooks.lua")?;
    None
}
#[derive(Debug)]
pub(crate) struct Engine;
impl Engine {
    pub(crate) fn new() -> Self {
        Self
    }
    pub(crate) async fn run(
        &self,
        _context: Arc<Context>,
        _level: usize,
        _request: Value,
        _place: crate::pool::Place,
    ) -> Result<Value, HookError> {
        Err(HookError::new(wharf_core::hook::HookErrorKind::Unsupported, "no Lua here"))
    }
}
