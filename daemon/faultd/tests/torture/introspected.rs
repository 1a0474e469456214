//! What the daemon says it can be asked: all objects, interfaces and methods, read from the XML of its introspection.

use std::collections::BTreeSet;

use zbus::Connection;

const INTROSPECTABLE: &str = "org.freedesktop.DBus.Introspectable";

/// One method of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Method {
    pub path: String,
    pub interface: String,
    pub name: String,
    /// The types of its arguments.
    pub arguments: Vec<String>,
    /// The keys that its documentation speaks of, each with its type: `delay_ns (t)`.
    pub keys: Vec<(String, char)>,
}

impl Method {
    /// As people call it.
    pub fn full_name(&self) -> String {
        format!("{}.{}", self.interface, self.name)
    }
}

/// All methods of an object and of those below it. The daemon describes them all at once.
pub async fn methods_below(connection: &Connection, destination: Option<&str>, path: &str) -> Vec<Method> {
    let called = connection.call_method(destination, path, Some(INTROSPECTABLE), "Introspect", &()).await;
    let text: String = called.expect("an answer").body().deserialize().expect("a description");
    read(path, &text)
}

/// The names of the methods in a description, each with its interface.
pub fn names_in(text: &str) -> BTreeSet<String> {
    read("/", text).iter().map(Method::full_name).collect()
}

/// The methods of an object and of those in it. The XML is that of the daemon: tags on their own, attributes in double
/// quotes.
fn read(path: &str, text: &str) -> Vec<Method> {
    let mut methods: Vec<Method> = Vec::new();
    let (mut interface, mut comment) = (String::new(), String::new());
    // The paths of the objects around, whose tags are open.
    let mut paths: Vec<String> = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find('<') {
        rest = &rest[start..];
        let is_comment = rest.starts_with("<!--");
        let end = rest.find(if is_comment { "-->" } else { ">" }).expect("a tag that ends");
        let tag = &rest[..end];
        rest = &rest[end..];
        if is_comment {
            comment = tag[4..].to_owned();
        } else if tag == "<node" {
            paths.push(path.trim_end_matches('/').to_owned());
        } else if let Some(name) = named(tag, "node") {
            paths.push(format!("{}/{name}", paths.last().expect("an object around")));
        } else if tag == "</node" {
            paths.pop();
        } else if let Some(name) = named(tag, "interface") {
            interface = name;
            comment.clear();
        } else if let Some(name) = named(tag, "method") {
            let path = paths.last().filter(|path| !path.is_empty()).map_or("/", String::as_str).to_owned();
            let (interface, keys) = (interface.clone(), keys_in(&std::mem::take(&mut comment)));
            methods.push(Method { path, interface, name, arguments: Vec::new(), keys });
        } else if tag.starts_with("<arg ") && attribute(tag, "direction").as_deref() == Some("in") {
            let method = methods.last_mut().expect("an argument of a method");
            method.arguments.extend(attribute(tag, "type"));
        }
    }
    methods
}

fn named(tag: &str, kind: &str) -> Option<String> {
    tag.strip_prefix('<')?.strip_prefix(kind)?.starts_with(' ').then(|| attribute(tag, "name"))?
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    rest.split_once('"').map(|(value, _)| value.to_owned())
}

/// A word in front of a type in parentheses: `seed (t, of that choice)`.
fn keys_in(comment: &str) -> Vec<(String, char)> {
    let words: Vec<&str> = comment.split_whitespace().collect();
    let pairs = words.windows(2);
    let key = |pair: &[&str]| {
        let kind = pair[1].strip_prefix('(')?.chars().next()?;
        let is_name = pair[0].bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
        (is_name && "stdbuia".contains(kind)).then(|| (pair[0].to_owned(), kind))
    };
    pairs.filter_map(key).collect()
}

#[test]
fn methods_arguments_keys_and_objects_are_read() {
    let text = "<!DOCTYPE node>\n<node>\n<node name=\"o\">\n<interface name=\"a.B\">\n\
                <!-- Keys: delay_ns (t, how long), name (s). -->\n<method name=\"Do\">\n\
                <arg name=\"x\" type=\"a{sv}\" direction=\"in\"/>\n<arg name=\"y\" type=\"s\" direction=\"out\"/>\n\
                </method>\n<signal name=\"S\">\n<arg name=\"p\" type=\"s\"/>\n</signal>\n</interface>\n\
                <node name=\"r1\">\n<interface name=\"a.C\">\n<method name=\"Stop\">\n</method>\n</interface>\n\
                </node>\n</node>\n</node>";
    let method = |path: &str, interface: &str, name: &str| Method {
        path: path.into(),
        interface: interface.into(),
        name: name.into(),
        arguments: Vec::new(),
        keys: Vec::new(),
    };
    let first = Method {
        arguments: vec!["a{sv}".into()],
        keys: vec![("delay_ns".into(), 't'), ("name".into(), 's')],
        ..method("/o", "a.B", "Do")
    };
    assert_eq!(read("/", text), [first, method("/o/r1", "a.C", "Stop")]);
}
