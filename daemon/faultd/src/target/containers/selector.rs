//! By what containers are selected. Pure: a text in, yes or no for each container out.

use regex::bytes::{Regex, RegexBuilder};

use super::Container;

const LABEL: &str = "label:";
const IMAGE: &str = "image:";
const EXPRESSION: &str = "re:";
/// Where compose writes down what a container is.
const PROJECT_LABEL: &str = "com.docker.compose.project";
const SERVICE_LABEL: &str = "com.docker.compose.service";
/// Labels that tools keep for themselves.
const OF_TOOLS: [&str; 4] = ["com.docker.", "io.podman.", "io.buildah.", "org.opencontainers."];
/// What is left out of the name of an image, as Podman writes it out.
const REGISTRIES: [&str; 3] = ["docker.io/library/", "docker.io/", "localhost/"];
/// Memory that a regular expression may take.
const LARGEST_EXPRESSION: usize = 1 << 20;

/// A regular expression that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no regular expression: {reason}")]
pub struct SelectorError {
    text: String,
    reason: String,
}

/// By what containers are selected.
#[derive(Debug)]
pub(in crate::target) enum Selector<'a> {
    /// The name of one, or the beginning of its id.
    NameOrId(&'a str),
    /// What compose made for a service of a project.
    Service { project: &'a str, service: &'a str },
    /// A label, with a value or any.
    Label { key: &'a str, value: Option<&'a str> },
    /// An image, with or without its tag.
    Image(&'a str),
    /// What the whole name fits.
    Expression(Regex),
}

impl<'a> Selector<'a> {
    /// Reads a selector.
    pub(in crate::target) fn read(text: &'a str) -> Result<Self, SelectorError> {
        if let Some(label) = text.strip_prefix(LABEL) {
            let (key, value) = label.split_once('=').map_or((label, None), |(key, value)| (key, Some(value)));
            return Ok(Self::Label { key, value });
        }
        if let Some(image) = text.strip_prefix(IMAGE) {
            return Ok(Self::Image(image));
        }
        if let Some(expression) = text.strip_prefix(EXPRESSION) {
            return whole_name(expression).map(Self::Expression);
        }
        Ok(match text.split_once('/') {
            Some((project, service)) => Self::Service { project, service },
            None => Self::NameOrId(text),
        })
    }

    /// Whether more than one container may be meant.
    pub(in crate::target) fn is_for_several(&self) -> bool {
        !matches!(self, Self::NameOrId(_))
    }

    /// Whether a container is meant.
    pub(super) fn fits(&self, container: &Container) -> bool {
        let label = |key: &str| container.labels.get(key).map(String::as_str);
        match self {
            Self::NameOrId(text) => container.name == *text || is_beginning(&container.id, text),
            Self::Service { project, service } => {
                label(PROJECT_LABEL) == Some(project) && label(SERVICE_LABEL) == Some(service)
            }
            Self::Label { key, value: None } => label(key).is_some(),
            Self::Label { key, value: Some(value) } => label(key) == Some(value),
            Self::Image(image) => {
                is_image(&container.image, image) || is_beginning(&container.image_id, image)
            }
            Self::Expression(expression) => expression.is_match(container.name.as_bytes()),
        }
    }
}

/// Compose's project and service, as in `shop/database`.
pub(super) fn service_of(container: &Container) -> Option<String> {
    let label = |key: &str| container.labels.get(key);
    Some(format!("{}/{}", label(PROJECT_LABEL)?, label(SERVICE_LABEL)?))
}

/// The labels that people gave.
pub(super) fn labels_of(container: &Container) -> Vec<String> {
    let given = |key: &&String| !OF_TOOLS.iter().any(|tool| key.starts_with(tool));
    let labels = container.labels.iter().filter(|(key, _)| given(key));
    let text = |(key, value): (&String, &String)| match value.as_str() {
        "" => key.clone(),
        value => format!("{key}={value}"),
    };
    labels.map(text).collect()
}

fn whole_name(expression: &str) -> Result<Regex, SelectorError> {
    // Names of containers are ASCII.
    let mut builder = RegexBuilder::new(&format!("^(?:{expression})$"));
    builder.unicode(false).size_limit(LARGEST_EXPRESSION).build().map_err(|error| SelectorError {
        text: expression.to_owned(),
        // Its own text points into the expression, over several lines.
        reason: error.to_string().lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned(),
    })
}

fn is_beginning(id: &str, text: &str) -> bool {
    !text.is_empty() && id.starts_with(text)
}

/// Whether an image is the one that is asked for: of any tag, where none is asked for.
fn is_image(image: &str, asked: &str) -> bool {
    let (image, asked) = (without_registry(image), without_registry(asked));
    image == asked || without_tag(image) == asked
}

fn without_registry(image: &str) -> &str {
    REGISTRIES.iter().find_map(|registry| image.strip_prefix(registry)).unwrap_or(image)
}

/// A colon before the last slash belongs to a port.
fn without_tag(image: &str) -> &str {
    let image = image.split_once('@').map_or(image, |(image, _digest)| image);
    match image.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => image,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn container() -> Container {
        let labels = [
            (PROJECT_LABEL, "shop"),
            (SERVICE_LABEL, "database"),
            ("tier", "back"),
            ("urgent", ""),
            ("org.opencontainers.image.title", "redis"),
        ];
        Container {
            engine: "docker",
            name: "shop-database-1".into(),
            id: "3f2a9c".into(),
            image: "redis:7".into(),
            image_id: "sha256:aa11".into(),
            labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
            state: "running".into(),
            addresses: Vec::new(),
        }
    }

    #[test]
    fn a_container_is_selected_by_what_it_is_called_and_by_what_it_is() {
        let fitting = [
            "shop-database-1",
            "3f2a",
            "shop/database",
            "label:tier",
            "label:tier=back",
            "image:redis",
            "image:redis:7",
            "image:docker.io/library/redis:7",
            "image:sha256:aa",
            r"re:shop-\w+-\d",
            "re:.*",
            "re:x|shop.*",
        ];
        for text in fitting {
            assert!(Selector::read(text).unwrap().fits(&container()), "{text}");
        }
        let others = [
            "shop",
            "f2a9c",
            "",
            "shop/web",
            "database/shop",
            "label:tier=",
            "label:tier=front",
            "label:back",
            "image:redis:8",
            "image:redi",
            "image:",
            "re:shop",
            "re:database",
            "re:x|shop",
        ];
        for text in others {
            assert!(!Selector::read(text).unwrap().fits(&container()), "{text}");
        }
    }

    #[test]
    fn the_port_of_a_registry_is_no_tag() {
        assert!(is_image("registry:5000/team/redis:7", "registry:5000/team/redis"));
        assert!(!is_image("registry:5000/team/redis", "registry"));
        assert!(is_image("redis@sha256:bb", "redis"));
    }

    #[test]
    fn a_broken_expression_is_refused_in_one_line() {
        let text = Selector::read("re:a(b").unwrap_err().to_string();
        assert_eq!(text, "'a(b' is no regular expression: unclosed group");
        assert!(Selector::read("re:(a{1000}){1000}").is_err(), "one that is too large");
    }

    #[test]
    fn people_see_what_they_gave() {
        assert_eq!(service_of(&container()).as_deref(), Some("shop/database"));
        assert_eq!(labels_of(&container()), ["tier=back", "urgent"]);
    }
}
