use serde_json::{Value, json};

use super::*;

const ID: &str = "k3v9x2m7q4t8w1z6b5n0";

fn read(document: &Value) -> io::Result<Vec<Listed>> {
    kept(document.to_string().as_bytes())
}

#[test]
fn what_is_kept_is_a_sessions_by_label_and_name_and_nothing_else_of_it() {
    let long = "x".repeat(1 << 20);
    let listed = read(&json!([
        {"Id": "1", "Names": [format!("/{ID}")], "State": "running", "Command": long,
         "Labels": {"a": long, "io.wharf.session": ID, "io.wharf.memory": "7", "z": long}, "Mounts": [{"Source": long}]},
        {"Id": "2", "Names": ["/other"], "State": "running", "Labels": {"io.wharf.session": "abcdefghjkmnpqrstvw1"}},
        {"Id": "3", "Names": ["/abcdefghjkmnpqrstvw1"], "State": "running", "Labels": {}},
        {"Id": "4", "Names": null, "State": null, "Labels": null},
        {},
    ]))
    .unwrap();
    assert_eq!(listed.len(), 1);
    let found = by_session(&listed)[ID];
    assert_eq!((found.id.as_deref(), found.word(), found.memory()), (Some("1"), "running", Some(7)));
}

#[test]
fn a_word_that_nobody_knows_is_that_containers_alone_and_podmans_are_dockers() {
    for (word, shown) in
        [("stopped", "exited"), ("hibernating", "hibernating"), ("", ""), ("exited", "exited")]
    {
        let listed =
            read(&json!([{"Names": [ID], "State": word, "Labels": {"io.wharf.session": ID}}])).unwrap();
        assert_eq!(listed[0].word(), shown);
    }
}

/// A list without an end is read until it has become too much, and no further.
struct Endless<'a>(&'a [u8], &'a [u8], usize);

impl Read for Endless<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let (begin, again) = (self.0, self.1);
        for byte in into.iter_mut() {
            let at = self.2;
            *byte = begin.get(at).copied().unwrap_or_else(|| again[(at - begin.len()) % again.len()]);
            self.2 += 1;
        }
        Ok(into.len())
    }
}

#[test]
fn a_list_without_an_end_is_not_kept_without_an_end() {
    let one = format!(r#"{{"Names":["{ID}"],"Labels":{{"io.wharf.session":"{ID}"}}}},"#);
    for (begin, again, why) in [
        (r#"[{"Labels":{"io.wharf.session":""#, "x", "no end"),
        (r#"[{"Labels":{""#, r#"\""#, "no end"),
        ("[", &one, "too many"),
    ] {
        let mut endless = Endless(begin.as_bytes(), again.as_bytes(), 0);
        let told = kept(&mut endless).unwrap_err().to_string();
        assert!(told.contains(why) && endless.2 < 16 << 20, "{told} after {} bytes", endless.2);
    }
    let names = vec![ID; 1000];
    let listed = read(&json!([{"Names": names, "Labels": {"io.wharf.session": ID}}])).unwrap();
    assert_eq!(listed[0].names.len(), 16);
}

#[test]
fn what_is_no_whole_list_is_none() {
    let whole = json!([{"Names": [ID], "State": "running", "Labels": {"io.wharf.session": ID}}]).to_string();
    for cut in 0..whole.len() {
        assert!(kept(&whole.as_bytes()[..cut]).is_err(), "{}", &whole[..cut]);
    }
    for text in ["null", "{}", "[1]", "[] []", "<html></html>", &format!("{whole}x")] {
        assert!(kept(text.as_bytes()).is_err(), "{text}");
    }
}
