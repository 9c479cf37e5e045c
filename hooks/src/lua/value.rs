//! JSON into Lua and back, with secrets that stay opaque and requests that stay as they are.
#![expect(clippy::wildcard_enum_match_arm, reason = "whatever else a Lua value is, it is refused")]

use mlua::{Lua, LuaSerdeExt as _, MetaMethod, Table, UserData, UserDataMethods, Value as Lv};
use serde_json::{Map, Value};

use super::fault::mistake;
use super::vm::in_time;
use crate::exec::document::DEPTH_MAX;

/// Numbers beyond it do not survive Lua's floats.
const EXACT: i64 = 1 << 53;

/// A value that a script may hand on and never read.
#[derive(Debug, Clone)]
pub(crate) struct Secret(pub(crate) String);

impl UserData for Secret {
    fn add_methods<M: UserDataMethods<Self>>(methods: &mut M) {
        methods.add_meta_method(MetaMethod::ToString, |_, _, ()| Ok("***"));
        methods.add_meta_function(MetaMethod::Concat, |_, (_, _): (Lv, Lv)| {
            Err::<(), _>(mistake(
                "a secret cannot become part of a text: give it whole, in env or stdin of a command",
            ))
        });
    }
}

/// How values enter the VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Into<'a> {
    /// Nothing can change them.
    pub(crate) frozen: bool,
    /// Members that are secret wherever they stand right below a `params`.
    pub(crate) secrets: &'a [String],
}

impl Into<'_> {
    /// Ordinary values that the script may change.
    pub(crate) const PLAIN: Into<'static> = Into { frozen: false, secrets: &[] };

    /// A value for the VM.
    pub(crate) fn lua(self, lua: &Lua, value: &Value) -> mlua::Result<Lv> {
        self.inner(lua, value, false)
    }

    fn inner(self, lua: &Lua, value: &Value, in_params: bool) -> mlua::Result<Lv> {
        Ok(match value {
            Value::Null => lua.null(),
            Value::Bool(value) => Lv::Boolean(*value),
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(whole), _) if whole.abs() <= EXACT => Lv::Number(number.as_f64().unwrap_or(0.0)),
                (None, Some(float)) if !number.is_u64() => Lv::Number(float),
                _ => Lv::String(lua.create_string(number.to_string())?),
            },
            Value::String(text) => Lv::String(lua.create_string(text)?),
            Value::Array(items) => {
                in_time(lua)?;
                let table = lua.create_table_with_capacity(items.len(), 0)?;
                for item in items {
                    table.raw_push(self.inner(lua, item, false)?)?;
                }
                table.set_metatable(Some(lua.array_metatable()))?;
                table.set_readonly(self.frozen);
                Lv::Table(table)
            }
            Value::Object(members) => {
                in_time(lua)?;
                let table = lua.create_table_with_capacity(0, members.len())?;
                for (name, member) in members {
                    if member.is_null() {
                        continue;
                    }
                    let secret = in_params && self.secrets.contains(name);
                    let member = match member {
                        Value::String(text) if secret => {
                            Lv::UserData(lua.create_userdata(Secret(text.clone()))?)
                        }
                        member if secret => Lv::UserData(lua.create_userdata(Secret(member.to_string()))?),
                        member => self.inner(lua, member, name == "params")?,
                    };
                    table.raw_set(name.as_str(), member)?;
                }
                table.set_readonly(self.frozen);
                Lv::Table(table)
            }
        })
    }
}

/// Where secrets may leave the VM in the clear; elsewhere they are a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Secrets {
    /// Nowhere.
    Never,
    /// In what a module's function hands on as environment, standard input or a script, so that none becomes a word of a
    /// command line or a label.
    Unseen,
    /// Everywhere.
    Everywhere,
}

impl Secrets {
    fn may_stand_at(self, path: &[String]) -> bool {
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        match self {
            Self::Never => false,
            Self::Unseen => {
                matches!(path.as_slice(), ["stdin" | "script"] | ["env", _] | ["monitor", "env", _])
            }
            Self::Everywhere => true,
        }
    }
}

/// How values leave the VM.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Out {
    /// Where secrets may be.
    pub(crate) secrets: Secrets,
    /// Most bytes of texts in all.
    pub(crate) max: usize,
}

impl Out {
    /// A value as JSON; functions, cycles, mixed tables and the like are mistakes that name their place.
    pub(crate) fn json(self, value: &Lv) -> mlua::Result<Value> {
        let mut room = self.max;
        self.inner(value, &mut Vec::new(), &mut room)
    }

    fn inner(self, value: &Lv, path: &mut Vec<String>, room: &mut usize) -> mlua::Result<Value> {
        let place = |path: &[String]| if path.is_empty() { "the value".to_owned() } else { path.join(".") };
        if path.len() > DEPTH_MAX {
            return Err(mistake(format!(
                "nested deeper than {DEPTH_MAX}, or in a circle, at {}",
                path[..4].join(".")
            )));
        }
        *room = room
            .checked_sub(match value {
                Lv::String(text) => text.as_bytes().len() + 8,
                _ => 8,
            })
            .ok_or_else(|| mistake(format!("larger than {} bytes", self.max)))?;
        Ok(match value {
            Lv::Nil => Value::Null,
            Lv::LightUserData(pointer) if pointer.0.is_null() => Value::Null,
            Lv::Boolean(value) => Value::Bool(*value),
            Lv::Integer(number) => (*number).into(),
            Lv::Number(number) => number_out(*number)
                .ok_or_else(|| mistake(format!("{}: {number} is no number in JSON", place(path))))?,
            Lv::String(text) => Value::String(text.to_string_lossy()),
            Lv::Table(table) => self.table(table, path, room)?,
            Lv::UserData(data) => match data.borrow::<Secret>() {
                Ok(secret) if self.secrets.may_stand_at(path) => Value::String(secret.0.clone()),
                Ok(_) if self.secrets == Secrets::Unseen => {
                    let at = path.first().map_or("the arguments", String::as_str);
                    let why = "could be seen by everybody: use env or stdin";
                    return Err(mistake(format!("a secret in {at} {why}")));
                }
                Ok(_) => return Err(mistake(format!("{}: a secret cannot go here", place(path)))),
                Err(_) => {
                    return Err(mistake(format!(
                        "{}: expected data, got an object of the host",
                        place(path)
                    )));
                }
            },
            other => {
                return Err(mistake(format!("{}: expected data, got a {}", place(path), other.type_name())));
            }
        })
    }

    fn table(self, table: &Table, path: &mut Vec<String>, room: &mut usize) -> mlua::Result<Value> {
        let lua = table.weak_lua().try_upgrade();
        if let Some(lua) = &lua {
            in_time(lua)?;
        }
        let marked = match (table.metatable(), lua) {
            (Some(meta), Some(lua)) => meta == lua.array_metatable(),
            _ => false,
        };
        let length = table.raw_len();
        if length > 0 || marked {
            let mut items = Vec::new();
            for at in 1..=length {
                let item: Lv = table.raw_get(at)?;
                path.push(at.to_string());
                items.push(self.inner(&item, path, room)?);
                path.pop();
            }
            if table.pairs::<Lv, Lv>().count() != length {
                return Err(mistake(format!("{}: a list and named members in one table", path.join("."))));
            }
            return Ok(Value::Array(items));
        }
        let mut members = Map::new();
        for pair in table.pairs::<Lv, Lv>() {
            let (name, member) = pair?;
            let Lv::String(name) = name else {
                let message =
                    format!("{}: names of members have to be texts: use tostring(…)", path.join("."));
                return Err(mistake(message));
            };
            let name = name.to_string_lossy();
            path.push(name.clone());
            let member = self.inner(&member, path, room)?;
            path.pop();
            *room = room.saturating_sub(name.len());
            members.insert(name, member);
        }
        Ok(Value::Object(members))
    }
}

fn number_out(number: f64) -> Option<Value> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "only within the exact range"
    )]
    if number.fract() == 0.0 && number.abs() <= EXACT as f64 {
        return Some((number as i64).into());
    }
    serde_json::Number::from_f64(number).map(Value::Number)
}
