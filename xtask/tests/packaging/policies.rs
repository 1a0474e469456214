//! What the message bus and polkit read: well-formed, of the names that the daemon uses, and nobody may more than said.

use std::fs;

use super::{have, output_of, program, shipped};

const FILES: [&str; 2] = ["org.faultd.Engine1.conf", "org.faultd.Engine1.policy"];
/// As `policy/access.rs` of the daemon calls them, and what somebody who sits at the machine may without a password.
const ACTIONS: [(&str, &str); 4] = [
    ("read", "yes"),
    ("inject", "auth_admin_keep"),
    ("load-plugins", "auth_admin_keep"),
    ("administer", "auth_admin_keep"),
];

#[test]
fn the_policies_are_well_formed_and_say_what_polkit_is_asked_for() {
    if !have("the_policies_are_well_formed_and_say_what_polkit_is_asked_for", &["xmllint"]) {
        return;
    }
    for file in FILES {
        output_of(program("xmllint --nonet --noout").arg(shipped(file)));
    }
    let value = |xpath: &str| {
        output_of(program("xmllint --nonet --xpath").arg(xpath).arg(shipped("org.faultd.Engine1.policy")))
            .trim()
            .to_owned()
    };
    assert_eq!(value("count(//action)"), ACTIONS.len().to_string());
    for (action, at_the_machine) in ACTIONS {
        let of = |what: &str| value(&format!("string(//action[@id='org.faultd.Engine1.{action}']//{what})"));
        assert_eq!(of("allow_active"), at_the_machine, "{action}");
        assert_eq!(
            (of("allow_any").as_str(), of("allow_inactive").as_str()),
            ("auth_admin_keep", "auth_admin_keep")
        );
        assert!(!of("message").is_empty() && !of("description").is_empty(), "{action}");
    }
}

#[test]
fn root_alone_may_be_faultd_and_the_bus_starts_the_service() {
    let policy = fs::read_to_string(shipped("org.faultd.Engine1.conf")).expect("a policy");
    assert_eq!(policy.matches(" own=").count(), 1, "{policy}");
    let of_root =
        policy.split("<policy user=\"root\">").nth(1).and_then(|rest| rest.split("</policy>").next());
    assert!(of_root.is_some_and(|rules| rules.contains("<allow own=\"org.faultd.Engine1\"/>")), "{policy}");
    let activation = fs::read_to_string(shipped("org.faultd.Engine1.service")).expect("a file");
    for line in ["[D-BUS Service]", "Name=org.faultd.Engine1", "User=root", "SystemdService=faultd.service"] {
        assert!(activation.lines().any(|known| known == line), "no {line}: {activation}");
    }
}
