//! Which known word did somebody mean? Every message about an unknown name ends with the answer.

/// The word of `known` that `typed` was most likely meant to be, if any is close enough to be worth naming.
///
/// Close enough is one edit, or one edit for every three characters; a transposition counts as one edit.
pub fn nearest<'k>(typed: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    known
        .into_iter()
        .map(|word| (strsim::damerau_levenshtein(&typed.to_lowercase(), &word.to_lowercase()), word))
        .filter(|(edits, word)| *edits <= (word.chars().count().max(typed.chars().count()) / 3).max(1))
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, word)| word)
}

/// The end of a message about an unknown word: the nearest known one, else all of them.
///
/// `nouns` is what the words are called together, as in `interfaces`.
pub fn way_out(typed: &str, nouns: &str, known: &[&str]) -> String {
    match nearest(typed, known.iter().copied()) {
        Some(word) => format!("did you mean {word}?"),
        None if known.is_empty() => format!("there are no {nouns}"),
        None if known.len() > LISTED => {
            format!("known {nouns} are {} and {} more", known[..LISTED].join(", "), known.len() - LISTED)
        }
        None => format!("known {nouns} are {}", known.join(", ")),
    }
}

/// More words than this are not listed in one message.
const LISTED: usize = 12;

#[cfg(test)]
mod tests {
    use super::{nearest, way_out};

    #[test]
    fn a_typo_finds_its_word_and_a_stranger_finds_none() {
        let keys = ["address", "port", "protocol"];
        assert_eq!(nearest("adress", keys), Some("address"));
        assert_eq!(nearest("prot", keys), Some("port"));
        assert_eq!(nearest("Port", keys), Some("port"));
        assert_eq!(nearest("colour", keys), None);
    }

    #[test]
    fn the_way_out_lists_what_exists() {
        assert_eq!(way_out("etho0", "interfaces", &["lo", "eth0"]), "did you mean eth0?");
        assert_eq!(way_out("wan", "interfaces", &["lo", "eth0"]), "known interfaces are lo, eth0");
        assert_eq!(way_out("wan", "interfaces", &[]), "there are no interfaces");
    }

    #[test]
    fn a_long_list_is_cut() {
        let words: Vec<String> = (0..40).map(|n| format!("server{n:02}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let text = way_out("x", "backends", &words);
        assert!(text.ends_with("server11 and 28 more"), "{text}");
    }
}
