//! Arguments that nobody would think of, and some that somebody would: values of any type of D-Bus by chance.

use std::{fs::File, os::fd::OwnedFd, path::PathBuf};

use zbus::wire::{Array, Dict, Fd, ObjectPath, Signature, Variant};

use crate::{chance::Chance, introspected::Method};

/// Keys that are in requests and whose type is said elsewhere than in the description of a method.
const KEYS: [(&str, char); 24] = [
    ("jitter_ns", 't'),
    ("distribution", 's'),
    ("jitter_correlation", 'd'),
    ("may_reorder", 'b'),
    ("reorder_ratio", 'd'),
    ("loss_every", 't'),
    ("loss_packets", 's'),
    ("duplicate_ratio", 'd'),
    ("corrupt_ratio", 'd'),
    ("rate_bytes_per_second", 't'),
    ("burst_bytes", 't'),
    ("queue_bytes", 't'),
    ("port", 's'),
    ("protocol", 's'),
    ("priority", 'u'),
    ("pause_ns", 't'),
    ("cpus", 'd'),
    ("cluster", 's'),
    ("label", 's'),
    ("schedule", 's'),
    ("clients", 't'),
    ("keys", 't'),
    ("warm_up_ns", 't'),
    ("no_such_key", 'v'),
];

/// Of what values are made.
pub struct Generator {
    pub chance: Chance,
    /// Texts that mean something: targets, ids, paths.
    pub words: Vec<String>,
    /// Files and folders whose descriptors may be handed over.
    pub files: Vec<PathBuf>,
    /// A target that can be faulted, and a cluster that can be put under load.
    pub target: String,
    pub cluster: String,
}

impl Generator {
    /// Arguments of a method.
    pub fn arguments(&mut self, method: &Method) -> Vec<Variant<'static>> {
        let kinds = method.arguments.iter();
        kinds.map(|kind| self.argument(kind, &method.name, &method.keys)).collect()
    }

    fn argument(&mut self, kind: &str, method: &str, keys: &[(String, char)]) -> Variant<'static> {
        match kind {
            "a{sv}" => {
                let sound = if self.chance.percent(40) { self.sound_entries(method) } else { Vec::new() };
                self.request(sound, keys, 0)
            }
            "as" => self.texts(),
            other => self.of_kind(other.chars().next().unwrap_or('s'), keys, 0),
        }
    }

    /// What a request of a method needs to be carried out.
    fn sound_entries(&mut self, method: &str) -> Vec<(&'static str, Variant<'static>)> {
        let text = |text: &str| Variant::from(text.to_owned());
        match method {
            "AddFault" | "PlanFault" | "SetFault" => {
                let effect = if self.chance.percent(50) {
                    ("delay_ns", Variant::from(1_000_000_u64))
                } else {
                    ("loss_ratio", Variant::from(0.01))
                };
                vec![("target", text(&self.target)), effect]
            }
            "StartRun" => vec![
                ("cluster", text(&self.cluster)),
                ("label", text(&format!("r{}", self.chance.number()))),
                ("duration_ns", Variant::from(1_000_000_000_u64)),
                ("warm_up_ns", Variant::from(0_u64)),
                ("keys", Variant::from(10_u64)),
                ("clients", Variant::from(1_u64)),
            ],
            _ => Vec::new(),
        }
    }

    /// A dictionary with some of the keys, most often with values of their type, beside those that are given.
    fn request(
        &mut self,
        sound: Vec<(&'static str, Variant<'static>)>,
        keys: &[(String, char)],
        depth: u32,
    ) -> Variant<'static> {
        let mut dictionary = Dict::new(&Signature::Str, &Signature::Variant);
        let mut used: Vec<String> = sound.iter().map(|(key, _)| (*key).to_owned()).collect();
        let is_sound = !sound.is_empty();
        for (key, value) in sound {
            let value = Variant::Variant(Box::new(value));
            dictionary.append(Variant::from(key), value).expect("an entry");
        }
        if is_sound && self.chance.percent(50) {
            return Variant::Dict(dictionary);
        }
        // The one without which nothing is understood is there more often than chance would have it.
        if self.chance.percent(70) && keys.iter().any(|(key, _)| key == "target") {
            self.put(&mut dictionary, &mut used, "target", 's', keys, depth);
        }
        for _ in 0..self.chance.below(6) {
            let (key, kind) = if self.chance.percent(80) && !keys.is_empty() {
                self.chance.one_of(keys).clone()
            } else {
                let (key, kind) = *self.chance.one_of(&KEYS);
                (key.to_owned(), kind)
            };
            self.put(&mut dictionary, &mut used, &key, kind, keys, depth);
        }
        Variant::Dict(dictionary)
    }

    fn put(
        &mut self,
        dictionary: &mut Dict<'static, 'static>,
        used: &mut Vec<String>,
        key: &str,
        kind: char,
        keys: &[(String, char)],
        depth: u32,
    ) {
        if used.iter().any(|known| known == key) {
            return;
        }
        used.push(key.to_owned());
        let kind = if self.chance.percent(90) {
            kind
        } else {
            *self.chance.one_of(&['s', 't', 'd', 'b', 'x', 'a', 'v'])
        };
        let value = self.of_kind(kind, keys, depth + 1);
        let value = Variant::Variant(Box::new(value));
        dictionary.append(Variant::from(key.to_owned()), value).expect("an entry");
    }

    fn of_kind(&mut self, kind: char, keys: &[(String, char)], depth: u32) -> Variant<'static> {
        match kind {
            's' => Variant::from(self.text()),
            'o' => Variant::from(ObjectPath::try_from(self.path()).expect("a path")),
            'b' => Variant::from(self.chance.percent(50)),
            'y' => Variant::from(self.chance.number() as u8),
            'n' => Variant::from(self.number() as i16),
            'q' => Variant::from(self.number() as u16),
            'i' => Variant::from(self.number() as i32),
            'u' => Variant::from(self.number() as u32),
            'x' => Variant::from(self.number().cast_signed()),
            't' => Variant::from(self.number()),
            'd' => Variant::from(self.fraction()),
            'h' => Variant::Fd(Fd::from(self.descriptor())),
            'a' if depth < 4 && self.chance.percent(60) => self.request(Vec::new(), keys, depth),
            'a' => self.texts(),
            // As deep as somebody may wish, within what D-Bus allows.
            _ if depth < 8 => Variant::Variant(Box::new(self.of_kind('v', keys, depth + 1))),
            _ => Variant::from(self.number()),
        }
    }

    fn texts(&mut self) -> Variant<'static> {
        let mut array = Array::new(&Signature::Str);
        for _ in 0..self.chance.below(5) {
            array.append(Variant::from(self.text())).expect("an element");
        }
        Variant::Array(array)
    }

    /// A word that means something, or one that was spoilt, or none.
    fn text(&mut self) -> String {
        let word = self.chance.one_of(&self.words).clone();
        match self.chance.below(20) {
            0 => String::new(),
            1 => "x".repeat(usize::try_from(self.chance.below(1 << 16)).expect("a length")),
            2 => "ä€𝄞\u{7f}\n\t\"\\;".repeat(3),
            3 => word.chars().rev().collect(),
            4 => format!("{word}/{word}"),
            5 => word.chars().take(usize::try_from(self.chance.below(8)).expect("a length")).collect(),
            6 => format!("{}", self.number()),
            _ => word,
        }
    }

    fn path(&mut self) -> String {
        let end = self.chance.below(100);
        let paths = ["/".to_owned(), format!("/org/faultd/Engine1/run/r{end}"), format!("/a/b{end}")];
        self.chance.one_of(&paths).clone()
    }

    /// At the edges most often; else a time of some milliseconds, or anything.
    fn number(&mut self) -> u64 {
        let any = self.chance.number();
        let edges =
            [0, 1, 2, u64::MAX, u64::MAX - 1, 1 << 31, 1 << 32, 1 << 53, 1 << 63, 1_000_000, 50_000_000];
        if self.chance.percent(60) { *self.chance.one_of(&edges) } else { any >> self.chance.below(64) }
    }

    fn fraction(&mut self) -> f64 {
        let any = f64::from_bits(self.chance.number());
        let edges = [
            0.0,
            -0.0,
            0.5,
            1.0,
            1.0 + f64::EPSILON,
            -1.0,
            f64::NAN,
            f64::INFINITY,
            f64::MIN_POSITIVE,
            1e300,
        ];
        if self.chance.percent(80) { *self.chance.one_of(&edges) } else { any }
    }

    fn descriptor(&mut self) -> OwnedFd {
        File::open(self.chance.one_of(&self.files)).expect("a file to hand over").into()
    }
}
