//! `turnctl config show`: the settings in force.

use serde_json::{Map, Value, json};
use turnbuckle_config::{Field, FieldSource, FieldValue, read};

use crate::Output;
use crate::cli::ShowArgs;
use crate::configuration::{self, HostFiles};
use crate::failure::Failure;

/// Every field with its value and origin, as TOML or as an object.
pub(crate) fn run(args: &ShowArgs) -> Result<Output, Failure> {
    let path = match &args.file {
        Some(path) => path.clone(),
        None => configuration::default_path()?,
    };
    let source = configuration::text(&path)?;
    let outcome = read(&path, &source, &[], &HostFiles);
    let text = if args.json {
        outcome
            .effective()
            .map(|fields| format!("{:#}\n", object(&fields, args.secrets)))
    } else {
        outcome.show(args.secrets)
    };
    match text {
        Some(text) => Ok(Output::new(text)),
        None => configuration::usable(&path, &source, outcome).map(|_| Output::new(String::new())),
    }
}

/// One object for each table, with `value` and `source` for each field.
fn object(fields: &[Field], secrets: bool) -> Value {
    let mut tables = Map::new();
    for field in fields {
        let entry = json!({
            "value": value(&field.value, secrets),
            "source": source(&field.source),
        });
        let table = match field.table {
            "" => &mut tables,
            table => match tables.entry(table).or_insert_with(|| json!({})) {
                Value::Object(table) => table,
                _ => continue,
            },
        };
        table.insert(field.name.to_owned(), entry);
    }
    Value::Object(tables)
}

fn value(of: &FieldValue, secrets: bool) -> Value {
    match of {
        FieldValue::Unset => Value::Null,
        FieldValue::Flag(on) => json!(on),
        FieldValue::Number(number) => json!(number),
        FieldValue::Text(text) => json!(text),
        FieldValue::Secret(secret) if secrets => json!(secret.expose()),
        FieldValue::Secret(_) => json!("[secret]"),
        FieldValue::List(items) => items.iter().map(|item| value(item, secrets)).collect(),
        FieldValue::Tables(tables) => tables
            .iter()
            .map(|table| {
                let fields = table
                    .iter()
                    .map(|(name, of)| ((*name).to_owned(), value(of, secrets)));
                Value::Object(fields.collect())
            })
            .collect(),
    }
}

fn source(of: &FieldSource) -> Value {
    match of {
        FieldSource::Default => json!("default"),
        FieldSource::CommandLine => json!("command line"),
        FieldSource::Lines(lines) => json!({ "lines": lines }),
    }
}
