//! The people who write statuses: as many as there are numbers, with one of `PROFILES` faces.

use std::fmt::Write;

use super::json;
use crate::script::dice::{Dice, Purpose};

/// Faces. A person's is told by its number, so that two statuses of one person agree.
pub(super) const PROFILES: u64 = 64;
/// Digits of a user id, and so of the end of a screen name, which has 15 characters at most.
pub(super) const USER_DIGITS: usize = 10;
const REGULAR_BASE: u64 = 1_000_000_000;
/// Spreads the ids of regulars, up to 4.9 billion for a rank of 2^17.
const REGULAR_STEP: u64 = 30_011;
const WITNESS_BASE: u64 = 5_000_000_000;

const STEMS: &[&str] = &[
    "marie", "jules", "lea", "sam", "nina", "tom", "ines", "hugo", "eva", "max", "rosa", "paul", "mia",
    "leo", "anna", "theo", "zoe", "yuki", "omar", "lina", "kai", "emma", "noe", "iris",
];
const FAMILIES: &[&str] = &[
    "Delorme",
    "Okafor",
    "Lindqvist",
    "Ferrand",
    "Müller",
    "Sánchez",
    "Kowalska",
    "Brück",
    "Tanaka",
    "Achebe",
    "Rossi",
    "Çelik",
    "Nørgård",
    "Haddad",
    "Peeters",
    "O'Leary",
];
const ABOUT: &[&str] = &[
    "Café, vélo et mauvaise foi. Je parle surtout de cuisine & de foot.",
    "Writes about gardens, trains and the weather. Opinions are my cat's.",
    "Photographe du dimanche 📷 — lève-tôt malgré moi, maman de deux petits monstres, jamais sans un livre.",
    "Ingenieurin, Bergziege, Brotbäckerin. Hier privat 🏔️",
    "Fan de todo lo que se puede leer, ver o comer. Aprendiendo a tocar la guitarra a los cuarenta.",
    "映画と音楽とラーメン。たまに愚痴。無言フォロー失礼します。",
    "Season ticket holder, amateur baker, professional procrastinator. She/her. DMs are open, patience is not.",
    "Prof d'histoire-géo le jour, joueur de jeux de société la nuit 🎲",
    "Recovering perfectionist. Maps, maths and long walks; will talk about bridges if you let me.",
    "",
];
const COLOURS: &[&str] = &["1DA1F2", "C0DEED", "FFF04D", "5ED4DC", "131516", "0099CC", "ABB8C2", "F5F8FA"];

/// One of the faces: everything of a user object that does not follow from the number.
#[derive(Debug)]
pub(super) struct Profile {
    stem: &'static str,
    /// The display name, as it is.
    name: String,
    /// From the location to the end of the object.
    rest: String,
    /// Whether this person's statuses come with everything but ASCII escaped.
    pub(super) escapes: bool,
}

/// Somebody who writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Person {
    pub(super) id: u64,
    pub(super) profile: usize,
}

impl Person {
    /// One of those who write again and again, by rank.
    pub(super) fn regular(rank: u64) -> Person {
        Person { id: REGULAR_BASE + rank * REGULAR_STEP, profile: (rank % PROFILES) as usize }
    }

    /// Somebody who writes one report, that of event `n`.
    pub(super) fn witness(n: u64) -> Person {
        Person { id: WITNESS_BASE + n % WITNESS_BASE, profile: (n % PROFILES) as usize }
    }
}

impl Profile {
    /// All faces.
    pub(super) fn all(seed: u64, mut city: impl FnMut(&mut Dice) -> String) -> Vec<Profile> {
        (0..PROFILES).map(|number| Profile::new(seed, number, &mut city)).collect()
    }

    fn new(seed: u64, number: u64, city: &mut impl FnMut(&mut Dice) -> String) -> Profile {
        let mut dice = Dice::new(seed, u64::MAX - number, Purpose::Pool);
        let stem = dice.pick(STEMS).copied().unwrap_or("sam");
        let family = dice.pick(FAMILIES).copied().unwrap_or_default();
        let name = format!("{}{} {family}", stem[..1].to_uppercase(), &stem[1..]);
        // As on X, which escapes; a quarter without, as other senders of the format do not.
        let escapes = !dice.percent(25);
        let mut rest = String::from(",\"location\":");
        json::string(&city(&mut dice), escapes, &mut rest);
        rest.push_str(",\"url\":null,\"description\":");
        json::string(dice.pick(ABOUT).copied().unwrap_or_default(), escapes, &mut rest);
        let colour = |dice: &mut Dice| dice.pick(COLOURS).copied().unwrap_or_default();
        let image = |dice: &mut Dice| format!("{}/{:08}", dice.bits() >> 30, dice.below(100_000_000));
        let (counts, background) = (|dice: &mut Dice, most: u32| 1 + dice.below(most), colour(&mut dice));
        let _ = write!(
            rest,
            ",\"translator_type\":\"none\",\"protected\":false,\"verified\":{},\"followers_count\":{},\
             \"friends_count\":{},\"listed_count\":{},\"favourites_count\":{},\"statuses_count\":{},\
             \"created_at\":\"Tue Mar {:02} 21:{:02}:07 +0000 20{:02}\",\"utc_offset\":null,\"time_zone\":null,\
             \"geo_enabled\":{},\"lang\":null,\"contributors_enabled\":false,\"is_translator\":false,\
             \"profile_background_color\":\"{background}\"",
            dice.percent(4),
            counts(&mut dice, 4_000),
            counts(&mut dice, 2_000),
            counts(&mut dice, 90),
            counts(&mut dice, 40_000),
            counts(&mut dice, 90_000),
            counts(&mut dice, 28),
            dice.below(60),
            9 + dice.below(16),
            dice.percent(40),
        );
        let (backdrop, face) = (image(&mut dice), image(&mut dice));
        let mut link = |key: &str, secure: bool, path: &str| {
            let _ = write!(rest, ",\"{key}\":");
            let scheme = if secure { "https" } else { "http" };
            json::string(&format!("{scheme}://pbs.twimg.com/{path}"), escapes, &mut rest);
        };
        for (suffix, secure) in [("", false), ("_https", true)] {
            let key = format!("profile_background_image_url{suffix}");
            link(&key, secure, &format!("profile_background_images/{backdrop}.jpeg"));
        }
        for (suffix, secure) in [("", false), ("_https", true)] {
            link(&format!("profile_image_url{suffix}"), secure, &format!("profile_images/{face}_normal.jpg"));
        }
        link("profile_banner_url", true, &format!("profile_banners/{face}"));
        let _ = write!(
            rest,
            ",\"profile_background_tile\":false,\"profile_link_color\":\"{}\",\
             \"profile_sidebar_border_color\":\"{}\",\"profile_sidebar_fill_color\":\"{}\",\
             \"profile_text_color\":\"333333\",\"profile_use_background_image\":{},\"default_profile\":false,\
             \"default_profile_image\":false,\"following\":null,\"follow_request_sent\":null,\
             \"notifications\":null}}",
            colour(&mut dice),
            colour(&mut dice),
            colour(&mut dice),
            dice.percent(70)
        );
        Profile { stem, name, rest, escapes }
    }

    /// `stem` and the ten digits of the id.
    pub(super) fn screen_name(&self, id: u64) -> String {
        format!("{}{id:010}", self.stem)
    }

    /// Appends the user object of the person with this id.
    pub(super) fn write(&self, id: u64, out: &mut String) {
        let _ = write!(out, "{{\"id\":{id},\"id_str\":\"{id}\",\"name\":");
        json::string(&self.name, self.escapes, out);
        let _ = write!(out, ",\"screen_name\":\"{}{id:010}\"", self.stem);
        out.push_str(&self.rest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_whole_and_its_name_is_one_of_x() {
        let profiles = Profile::all(1, |_| "Saint-Étienne".to_owned());
        for person in [Person::regular(64), Person::regular((1 << 17) - 1), Person::witness(u64::MAX)] {
            let profile = &profiles[person.profile];
            let mut user = String::new();
            profile.write(person.id, &mut user);
            let user: serde_json::Value = serde_json::from_str(&user).unwrap();
            assert_eq!(user["id"].as_u64(), Some(person.id));
            assert_eq!(user["id_str"].as_str().unwrap().len(), USER_DIGITS);
            let screen_name = user["screen_name"].as_str().unwrap();
            assert_eq!(screen_name, profile.screen_name(person.id));
            assert!(screen_name.len() <= 15, "{screen_name}");
            assert_eq!(user["location"], "Saint-Étienne");
            assert!(user["followers_count"].is_u64() && user["profile_image_url_https"].is_string());
        }
    }
}
