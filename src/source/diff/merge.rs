//! Merge Patch (RFC 7396) between two documents.

use crate::json::{Form, Ignored, Value, equal, inside_member, is_ignored};

/// The patch that turns `old` into `new`; `None` where the form cannot say it, because an object
/// would have to get a member that is null.
pub(crate) fn diff(old: Value<'_>, new: Value<'_>, ignored: &Ignored<'_>) -> Option<Vec<u8>> {
    let mut patch = Vec::new();
    write(&mut patch, old, new, ignored)?;
    Some(patch)
}

fn write(out: &mut Vec<u8>, old: Value<'_>, new: Value<'_>, ignored: &Ignored<'_>) -> Option<()> {
    if (old.form(), new.form()) != (Form::Object, Form::Object) {
        out.extend_from_slice(new.text());
        return can_be_said(new).then_some(());
    }
    let (old, new) = (old.members(), new.members());
    let begin = out.len() + 1;
    out.push(b'{');
    let name_it = |out: &mut Vec<u8>, name: Value<'_>| {
        if out.len() > begin {
            out.push(b',');
        }
        out.extend_from_slice(name.text());
        out.push(b':');
    };
    for (name, was) in old.iter() {
        let ignored = inside_member(ignored, name);
        match new.get(name) {
            _ if is_ignored(&ignored) => {}
            None => {
                name_it(out, name);
                out.extend_from_slice(b"null");
            }
            Some(is) if equal(was, is, &ignored) => {}
            Some(is) if is.form() == Form::Null => return None,
            Some(is) => {
                name_it(out, name);
                write(out, was, is, &ignored)?;
            }
        }
    }
    for (name, is) in new.iter() {
        if old.get(name).is_none() && !is_ignored(&inside_member(ignored, name)) {
            if is.form() == Form::Null || !can_be_said(is) {
                return None;
            }
            name_it(out, name);
            out.extend_from_slice(is.text());
        }
    }
    out.push(b'}');
    Some(())
}

/// Whether merging this value into nothing gives this value. Arrays are taken as they are.
fn can_be_said(value: Value<'_>) -> bool {
    match value.form() {
        Form::Object => value
            .pairs()
            .all(|(_, member)| member.form() != Form::Null && can_be_said(member)),
        _ => true,
    }
}
