//! Containers are selected by what they are called and what they are, one or many at once.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use faultd_testkit::daemon_under_test::DaemonUnderTest;
use serde_json::Value;

use crate::engine::{Container, Engine, assert_refused, faults_are_gone};

/// So many are faulted at once.
const MANY: usize = 50;
/// So many are started at once.
const STARTERS: usize = 5;

/// The targets of the faults that hold, in order.
fn targets(daemon: &DaemonUnderTest) -> Vec<String> {
    let faults = daemon.faultctl("-o json fault ls").json()["faults"].take();
    let faults = faults.as_array().expect("faults").iter();
    let mut targets: Vec<String> =
        faults.map(|fault| fault["target"].as_str().expect("a target").to_owned()).collect();
    targets.sort_unstable();
    targets
}

/// What is faulted by these words, for a moment.
fn selected(daemon: &DaemonUnderTest, words: &str) -> Vec<String> {
    daemon.faultctl(&format!("fault add {words} --loss 1% --detach")).succeeded();
    let targets = targets(daemon);
    daemon.faultctl("fault clear").succeeded();
    targets
}

fn sorted(containers: &[&Container]) -> Vec<String> {
    let mut names: Vec<String> = containers.iter().map(|container| container.name.clone()).collect();
    names.sort_unstable();
    names
}

fn of_compose(project: &str, service: &str) -> String {
    format!("--label com.docker.compose.project={project} --label com.docker.compose.service={service}")
}

#[test]
fn containers_are_selected_by_what_they_are_called_and_what_they_are() {
    let Some(engine) = Engine::get("containers_are_selected_by_what_they_are_called_and_what_they_are")
    else {
        return;
    };
    let mark = format!("mark{}", std::process::id());
    let web = || engine.container(&format!("{} --label {mark}=front", of_compose(&mark, "web")));
    let (one, two) = (web(), web());
    let db = engine.container(&format!("{} --label {mark}=back", of_compose(&mark, "db")));
    let daemon = engine.faultd();
    let all = [&one, &two, &db];
    let beginning = db.name.rsplit_once('-').expect("a number").0;
    for (words, expected) in [
        (db.name.clone(), &all[2..]),
        (db.id()[..16].to_owned(), &all[2..]),
        (format!("{mark}/web"), &all[..2]),
        (format!("{mark}/db"), &all[2..]),
        (format!("label:{mark}"), &all[..]),
        (format!("label:{mark}=front"), &all[..2]),
        (format!("re:{}|{}", one.name, two.name), &all[..2]),
        (format!("re:{beginning}-.* label:{mark}=none re:{}", db.name), &all[..0]),
        (format!("{mark}/web {} label:{mark}=front", db.name), &all[..]),
    ] {
        if expected.is_empty() {
            let nobody = daemon.faultctl(&format!("fault add {words} --loss 1% --detach"));
            assert_refused(&nobody, 3, &format!("'label:{mark}=none'"));
            continue;
        }
        assert_eq!(selected(&daemon, &words), sorted(expected), "{words}");
    }
    let by_image = selected_by_image(&daemon, &engine, &mark);
    assert!(sorted(&all).iter().all(|name| by_image.contains(name)), "{by_image:?}");
    listed(&daemon, &engine, &one, &db, &mark);
    refused(&daemon, &all, &mark);
}

/// Other tests have containers of that image too, some of which cannot be faulted: it is asked which are meant.
fn selected_by_image(daemon: &DaemonUnderTest, engine: &Engine, mark: &str) -> Vec<String> {
    let (image, _tag) = engine.image.split_once(':').expect("a tag");
    let among =
        daemon.faultctl(&format!("fault add image:{image} --random 100000 --seed 1 --loss 1% --detach"));
    assert_refused(&among, 2, "100000 targets cannot be chosen of ");
    let other = daemon.faultctl(&format!("fault add image:{mark} --loss 1% --detach"));
    assert_refused(&other, 3, &format!("'image:{mark}'"));
    let listed = daemon.faultctl("-o json target ls").json()["targets"].take();
    let of_image = |target: &&Value| target["image"] == engine.image.as_str();
    let listed = listed.as_array().expect("targets").iter().filter(of_image);
    listed.map(|target| target["name"].as_str().expect("a name").to_owned()).collect()
}

/// What `target ls` tells of containers, paused and stopped ones among them.
fn listed(daemon: &DaemonUnderTest, engine: &Arc<Engine>, one: &Container, db: &Container, mark: &str) {
    let target = |name: &str| {
        let listed = daemon.faultctl("-o json target ls").json()["targets"].take();
        let mut listed = listed.as_array().expect("targets").iter();
        listed.find(|target| target["name"] == name).expect("a container in the list").clone()
    };
    let web = target(&one.name);
    assert_eq!((&web["kind"], &web["state"]), (&"docker".into(), &"running".into()), "{web}");
    assert_eq!(
        (&web["service"], &web["image"]),
        (&format!("{mark}/web").into(), &engine.image.as_str().into())
    );
    assert_eq!((&web["labels"][0], &web["labels"][1]), (&format!("{mark}=front").into(), &Value::Null));
    assert_eq!(web["id"], one.id()[..12]);
    assert!(web["backend"].as_str().is_some_and(|backend| backend.starts_with("ebpf+")), "{web}");

    engine.docker(&format!("pause {}", db.name));
    let paused = target(&db.name);
    assert_eq!((&paused["state"], &paused["problem"]), (&"paused".into(), &Value::Null), "{paused}");
    assert_eq!(selected(daemon, &db.name), [db.name.as_str()]);
    engine.docker(&format!("unpause {}", db.name));

    let stopped = engine.container(&format!("--label {mark}=stopped"));
    engine.docker(&format!("stop -t 0 {}", stopped.name));
    let exited = target(&stopped.name);
    assert_eq!((&exited["state"], &exited["backend"]), (&"exited".into(), &Value::Null), "{exited}");
    assert!(exited["problem"].as_str().is_some_and(|text| text.contains("is not running: start it first")));
    for words in [&stopped.name, &format!("label:{mark}=stopped")] {
        let answer = daemon.faultctl(&format!("fault add {words} --loss 1% --detach"));
        assert_refused(&answer, 1, "is not running: start it first");
    }
}

/// What is not clear, is no selector, or is refused by one of several.
fn refused(daemon: &DaemonUnderTest, [one, two, _db]: &[&Container; 3], mark: &str) {
    let add = |words: &str| daemon.faultctl(&format!("fault add {words} --detach"));
    assert_refused(&add("re:a(b --loss 1%"), 2, "'a(b' is no regular expression");
    assert_refused(&add(&format!("{mark}/other --loss 1%")), 3, &format!("'{mark}/other'"));
    assert_refused(&add(&format!("{} {mark}-nobody --loss 1%", one.name)), 3, &format!("'{mark}-nobody'"));
    assert_refused(&add(&format!("label:{mark} --random 4 --loss 1%")), 2, "4 targets cannot be chosen of 3");
    // One of them has a fault already: none of the others gets one.
    add(&format!("{} --loss 1%", two.name)).succeeded();
    assert_refused(&add(&format!("label:{mark} --loss 2%")), 1, "already has a fault");
    assert_eq!(targets(daemon), [two.name.as_str()]);
    daemon.faultctl("fault clear").succeeded();
    let chosen = |seed: u32| selected(daemon, &format!("label:{mark} --random 1 --seed {seed}"));
    assert_eq!((chosen(7).len(), chosen(7)), (1, chosen(7)));
    let said = add(&format!("label:{mark} --random 2 --seed 5 --loss 1%")).succeeded().stderr;
    assert!(said.starts_with("chose 2 of 3 with --seed 5: "), "{said}");
    daemon.faultctl("fault clear").succeeded();
}

#[test]
fn many_containers_are_faulted_at_once() {
    let Some(engine) = Engine::get("many_containers_are_faulted_at_once") else { return };
    let mark = format!("many{}", std::process::id());
    let start =
        || (0..MANY / STARTERS).map(|_| engine.container(&format!("--label {mark}"))).collect::<Vec<_>>();
    let containers: Vec<Container> = thread::scope(|scope| {
        let starters: Vec<_> = (0..STARTERS).map(|_| scope.spawn(start)).collect();
        starters.into_iter().flat_map(|starter| starter.join().expect("containers")).collect()
    });
    let daemon = engine.faultd();
    let began = Instant::now();
    daemon.faultctl(&format!("fault add label:{mark} --delay 50ms --loss 1% --detach")).succeeded();
    println!("{MANY} containers were faulted in {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(30));
    assert_eq!(targets(&daemon), sorted(&containers.iter().collect::<Vec<_>>()));
    let ping = containers[MANY / 2].ping(5);
    assert!(ping.median() >= 50.0, "{:?}", ping.milliseconds);
    daemon.faultctl("fault clear").succeeded();
    assert!(faults_are_gone(&daemon));
}
