//! What an image made of a container would say: the image's configuration with what the options changed (moby,
//! `daemon/commit.go`, `merge`). Pure.

use super::options::Options;
use super::process;
use serde_json::{Map, Value, json};

/// The configuration of a container of this image, in the image's own keys; those that rbox does not know stay as they
/// are. `image`: the value of `config` in the image's configuration, or null.
pub fn config(options: &Options, image: &Value) -> Value {
    let mut merged: Map<String, Value> = image.as_object().cloned().unwrap_or_default();
    let of_image = |key: &str| -> Vec<String> { strings(&image[key]) };
    merged.insert("Env".to_owned(), process::kept_env(options, &of_image("Env")).into());
    if let Some(entrypoint) = &options.entrypoint {
        merged.insert("Entrypoint".to_owned(), json!(entrypoint));
        merged.remove("Cmd");
    }
    if !options.command.is_empty() {
        merged.insert("Cmd".to_owned(), json!(options.command));
    }
    if let Some(user) = &options.user {
        merged.insert("User".to_owned(), json!(user));
    }
    if let Some(dir) = &options.workdir {
        merged.insert("WorkingDir".to_owned(), json!(dir));
    }
    if let Some(signal) = options.stop_signal {
        merged.insert("StopSignal".to_owned(), json!(signal.to_string()));
    }
    if let Some(seconds) = options.stop_timeout {
        merged.insert("StopTimeout".to_owned(), json!(seconds));
    }
    match options.health.merged(&image["Healthcheck"]) {
        Value::Null => {}
        check => drop(merged.insert("Healthcheck".to_owned(), check)),
    }
    if let Some((key, action)) = options.health.action() {
        merged.insert(key.to_owned(), action);
    }
    if !options.labels.is_empty() {
        let mut labels = image["Labels"].as_object().cloned().unwrap_or_default();
        labels.extend(options.labels.iter().map(|(key, value)| (key.clone(), json!(value))));
        merged.insert("Labels".to_owned(), labels.into());
    }
    let exposed = options.exposed.iter().flat_map(|one| one.ports.clone().map(|port| (port, one.protocol)));
    let published = options.publish.iter().map(|one| (one.container_port, one.protocol));
    let ports: Map<String, Value> =
        exposed.chain(published).map(|(port, protocol)| (format!("{port}/{protocol}"), json!({}))).collect();
    if !ports.is_empty() {
        let mut all = image["ExposedPorts"].as_object().cloned().unwrap_or_default();
        all.extend(ports);
        merged.insert("ExposedPorts".to_owned(), all.into());
    }
    merged.into()
}

fn strings(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|word| word.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::port;

    #[test]
    fn options_over_the_image() {
        let image = json!({
            "Env": ["PATH=/bin", "A=1", "B=2", "C"], "Cmd": ["sh"], "Entrypoint": ["/init"], "User": "app",
            "Labels": { "a": "1", "b": "2" }, "Healthcheck": { "Test": ["NONE"] }, "OnBuild": ["RUN x"]
        });
        let mut options = Options {
            env: vec![("B".to_owned(), "3".to_owned()), ("D".to_owned(), "4".to_owned())],
            unset_env: vec!["A".to_owned()],
            labels: vec![("b".to_owned(), "x".to_owned())],
            command: vec!["ls".to_owned()],
            ..Options::default()
        };
        let merged = config(&options, &image);
        assert_eq!(merged["Env"], json!(["PATH=/bin", "B=3", "D=4"]));
        assert_eq!((&merged["Cmd"], &merged["Entrypoint"]), (&json!(["ls"]), &json!(["/init"])));
        assert_eq!(merged["Labels"], json!({ "a": "1", "b": "x" }));
        assert_eq!((&merged["Healthcheck"], &merged["OnBuild"]), (&image["Healthcheck"], &image["OnBuild"]));
        // What is published is exposed, too (docker/cli, `container/opts.go`).
        let image = json!({ "ExposedPorts": { "443/tcp": {} } });
        options.exposed = vec![port::expose("53/udp").expect("a port")];
        options.publish = port::publish(&["8080:80"]).expect("a port");
        let exposed = json!({ "443/tcp": {}, "53/udp": {}, "80/tcp": {} });
        assert_eq!(config(&options, &image)["ExposedPorts"], exposed);
        // A new entrypoint drops the image's command.
        options = Options { entrypoint: Some(vec!["/x".to_owned()]), ..Options::default() };
        let merged = config(&options, &image);
        assert_eq!((&merged["Cmd"], &merged["Entrypoint"]), (&Value::Null, &json!(["/x"])));
        assert_eq!(config(&Options::default(), &Value::Null), json!({ "Env": [] }));
    }
}
