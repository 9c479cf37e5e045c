//! Times and sizes between what users write and what schedulers want: `units`. No effects.

use std::str::FromStr as _;

use mlua::{Lua, Table};
use wharf_core::params;
use wharf_protocol::{Dur, Time};

use super::fault::mistake;

/// Adds the table. Numbers are Lua's own, exact up to 2^53.
#[expect(clippy::cast_precision_loss, reason = "far below 2^53: years in seconds, and exabytes")]
pub(crate) fn add(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let units = lua.create_table()?;
    units.set(
        "seconds",
        lua.create_function(|_, text: String| {
            let read = Dur::from_str(&text).map_err(|error| mistake(format!("units.seconds: {error}")))?;
            Ok(read.0.as_secs() as f64)
        })?,
    )?;
    units.set(
        "bytes",
        lua.create_function(|_, text: String| {
            let read = params::size(&text)
                .ok_or_else(|| mistake("units.bytes: not a size: write it as 512MiB or 4GiB".to_owned()))?;
            Ok(read as f64)
        })?,
    )?;
    units.set(
        "time",
        lua.create_function(|_, seconds: f64| {
            if !(0.0..1e11).contains(&seconds) {
                return Err(mistake(format!("units.time: {seconds} is no number of seconds since 1970")));
            }
            #[expect(clippy::cast_possible_truncation, reason = "checked to be small")]
            let at = Time::from_millis((seconds * 1000.0) as i64);
            Ok(at.to_string())
        })?,
    )?;
    globals.set("units", units)
}
