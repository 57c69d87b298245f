//! What to listen for: one brand as the posts name it, and beside it any number of invented ones.

use std::collections::HashSet;

use vigie::prefilter::{Brand, Config};

/// Terms of a brand, or rules of one, in the large configs.
const TERMS_PER_BRAND: usize = 100;
const RULES_PER_BRAND: usize = 1_000;

/// `size` terms: a hundred of the brand that posts are about, the rest of brands of a hundred each: a handle, a
/// hashtag, and names. Were there no hashtags, each name would make one.
pub(crate) fn terms(size: usize) -> Config {
    let mut inventor = Inventor::new();
    let mut brands = Vec::new();
    while brands.len() * TERMS_PER_BRAND < size {
        let mut brand = if brands.is_empty() { lumio() } else { other(brands.len()) };
        brand.hashtags = vec![format!("#{}", brand.name.replace(' ', ""))];
        let names = TERMS_PER_BRAND - brand.handles.len() - brand.hashtags.len() - brand.exclude.len();
        brand.names.extend((brand.names.len()..names).map(|_| inventor.name()));
        brands.push(brand);
    }
    Config { brands, ..Config::default() }
}

/// `size` rules: ten of the brand that posts are about, the rest of brands of about a thousand each.
pub(crate) fn rules(size: usize) -> Config {
    let mut inventor = Inventor::new();
    let rules = [
        "(lumiobox OR \"lumio mobile\") (panne OR \"ne marche plus\" OR help) -is:repost lang:fr",
        "lumio (internet OR wifi OR fibre) lang:fr",
        "lumio (internet OR wifi OR broadband) lang:en",
        "#lumio -is:repost",
        "\"lumio box\" -(concours OR giveaway)",
        "from:lumio_fan lumio",
        "@lumio_help has:links",
        "lumiobox is:reply",
        "to:lumio_help panne",
        "(lumio OR lumiobox) has:media -promo",
    ];
    let mut brands = vec![Brand { rules: rules.map(String::from).to_vec(), ..lumio() }];
    let mut left = size - rules.len();
    while left > 0 {
        let count = left.min(RULES_PER_BRAND);
        let rules = (0..count).map(|_| inventor.rule()).collect();
        brands.push(Brand { rules, ..other(brands.len()) });
        left -= count;
    }
    Config { brands, ..Config::default() }
}

fn lumio() -> Brand {
    Brand {
        name: "Lumio".into(),
        handles: ["@lumio", "@lumio_help", "@lumio.bsky.social"].map(String::from).to_vec(),
        names: ["lumio", "lumiobox", "lumio mobile"].map(String::from).to_vec(),
        exclude: vec!["lumio festival".into()],
        ..Brand::default()
    }
}

fn other(brand_idx: usize) -> Brand {
    Brand {
        name: format!("Marque Zuvex {brand_idx}"),
        handles: vec![format!("@marque_zuvex_{brand_idx}")],
        ..Brand::default()
    }
}

/// Makes up names that sound like names. Each holds a word that no language has, so that posts hold none.
struct Inventor {
    dice: fastrand::Rng,
    taken: HashSet<String>,
}

const ONSETS: [&str; 24] = [
    "b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "br", "cl", "dr", "fr", "gr", "pl",
    "st", "tr", "ch", "k", "j",
];
const VOWELS: [&str; 10] = ["a", "e", "i", "o", "u", "é", "ou", "au", "en", "or"];
const ENDINGS: [&str; 12] =
    ["vex", "xo", "zuk", "kor", "lux", "nyx", "yel", "quo", "zan", "vik", "dux", "tyx"];
/// Words of real names: in posts too, so that terms begin where posts have words.
const BEFORE: [&str; 24] = [
    "la",
    "le",
    "les",
    "the",
    "banque",
    "hôtel",
    "café",
    "maison",
    "groupe",
    "orange",
    "air",
    "clinique",
    "assurance",
    "grand",
    "my",
    "new",
    "super",
    "big",
    "free",
    "auto",
    "radio",
    "énergie",
    "l'atelier",
    "chez",
];
const BEHIND: [&str; 16] = [
    "mobile", "box", "france", "group", "online", "paris", "pro", "plus", "énergie", "express", "services",
    "shop", "bank", "santé", "tv", "& co",
];

impl Inventor {
    fn new() -> Inventor {
        Inventor { dice: fastrand::Rng::with_seed(7), taken: HashSet::new() }
    }

    fn one(&mut self, of: &[&'static str]) -> &'static str {
        of.get(self.dice.usize(0..of.len())).copied().unwrap_or_default()
    }

    fn word(&mut self) -> String {
        let mut word = String::new();
        for _ in 0..self.dice.usize(2..4) {
            word.push_str(self.one(&ONSETS));
            // One in twenty has an accent.
            let vowels = if self.dice.u8(0..20) == 0 { &VOWELS[5..6] } else { &VOWELS[..5] };
            word.push_str(self.one(vowels));
        }
        word + self.one(&ENDINGS)
    }

    /// A name of one to three words that was not given before: half of them in lower case.
    fn name(&mut self) -> String {
        loop {
            let word = self.word();
            let name = match self.dice.u8(0..100) {
                0..40 => word,
                40..65 => format!("{word} {}", self.one(&BEHIND)),
                65..80 => format!("{} {word}", self.one(&BEFORE)),
                80..90 => format!("{} {word} {}", self.one(&BEFORE), self.one(&BEHIND)),
                _ => format!("{word} {}", self.word()),
            };
            if self.taken.insert(name.clone()) {
                return if self.dice.bool() { name } else { title(&name) };
            }
        }
    }

    fn rule(&mut self) -> String {
        let [one, two, three] = [(); 3].map(|()| self.word());
        let behind = self.one(&BEHIND);
        match self.dice.u8(0..7) {
            0 => format!(
                "({one} OR \"{one} {behind}\") (panne OR \"ne marche plus\" OR help) -is:repost lang:fr"
            ),
            1 => format!("\"{one} {behind}\" (lang:fr OR lang:en) has:links"),
            2 => format!("#{one} -is:repost"),
            3 => format!("from:{two} {one}").replace('é', "e"),
            4 => format!("@{one} (wifi OR internet OR fibre) -promo").replace('é', "e"),
            5 => format!("{one} {two} -(concours OR giveaway) is:reply"),
            _ => {
                format!("({one} OR {two} OR {three}) (outage OR down OR \"not working\") lang:en -is:retweet")
            }
        }
    }
}

/// `la maison` → `La Maison`.
fn title(name: &str) -> String {
    let words = name.split(' ').map(|word| {
        let mut letters = word.chars();
        letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
    });
    words.collect::<Vec<_>>().join(" ")
}
