//! A bcrypt hash as it stands in a file.
//!
//! bcrypt reads 72 bytes of a password and ignores the rest. Go's `golang.org/x/crypto/bcrypt`, which checks
//! passwords in distribution and in docker_auth, refuses longer passwords when it *makes* a hash
//! (`ErrPasswordTooLong` above 72) but cuts silently when it *compares* (read in v0.55.0, and golang/go
//! issue 36546). The same here: existing users with long passwords keep working, see the tests below.

use std::str::FromStr;

use bcrypt::HashParts;

/// How much of a password counts, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 72;
/// Lowest cost that bcrypt knows.
pub const COST_MIN: u32 = 4;
/// Highest accepted cost. One check takes about 4 s at 16 and twice as long per step; a hash with cost 31,
/// by mistake or malice, would block a core for a day.
pub const COST_MAX: u32 = 16;

/// bcrypt's base64 digits in order of value.
const DIGITS: &[u8; 64] = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// `$2y$05$` + 22 digits of salt + 31 digits of hash.
const HASH_LEN: usize = 60;
/// Position of the salt's last digit, of which only the upper two bits are salt.
const SALT_LAST: usize = 28;

/// A hash that can be checked against.
#[derive(Clone, Copy)]
pub(crate) struct StoredHash {
    /// ASCII, in a form that the bcrypt crate reads.
    text: [u8; HASH_LEN],
    cost: u32,
}

/// Why an entry cannot authenticate anybody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashProblem {
    Missing,
    NotBcrypt,
    Cost(u32),
}

impl std::fmt::Display for HashProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Missing => f.write_str("password hash is missing or empty"),
            Self::NotBcrypt => {
                f.write_str("password hash is not bcrypt ($2y$, $2a$ or $2b$); make one with `homeport passwd`")
            }
            Self::Cost(cost) => write!(f, "bcrypt cost {cost} is outside {COST_MIN} to {COST_MAX}"),
        }
    }
}

impl StoredHash {
    pub(crate) fn parse(stored: &[u8]) -> Result<Self, HashProblem> {
        if stored.is_empty() {
            return Err(HashProblem::Missing);
        }
        let mut text: [u8; HASH_LEN] = stored.try_into().map_err(|_| HashProblem::NotBcrypt)?;
        // `$2x$` marks hashes of a broken implementation; the bcrypt crate would read it as if it were not.
        if ![&b"$2y$"[..], b"$2a$", b"$2b$"].iter().any(|prefix| text.starts_with(prefix)) {
            return Err(HashProblem::NotBcrypt);
        }
        // Some tools leave rubbish in the four bits of the salt that do not count. C and Go ignore them, the
        // bcrypt crate refuses the hash, so they are cleared.
        if let Some(value) = DIGITS.iter().position(|digit| *digit == text[SALT_LAST]) {
            text[SALT_LAST] = DIGITS[value & 0b11_0000];
        }
        let hash = std::str::from_utf8(&text).map_err(|_| HashProblem::NotBcrypt)?;
        // `+5` would be a number for the crate, but is not one of bcrypt.
        if !text[4..6].iter().all(u8::is_ascii_digit) {
            return Err(HashProblem::NotBcrypt);
        }
        let cost = HashParts::from_str(hash).map_err(|_| HashProblem::NotBcrypt)?.get_cost();
        if !(COST_MIN..=COST_MAX).contains(&cost) {
            return Err(HashProblem::Cost(cost));
        }
        Ok(Self { text, cost })
    }

    /// A hash that takes as long to check as any other of this cost and that nobody's password is known to
    /// have. Its checks must still be treated as failed whatever they say.
    pub(crate) fn decoy(cost: u32) -> Self {
        let cost = cost.clamp(COST_MIN, COST_MAX);
        let mut text = *b"$2y$00$......................0123456789ABCDEFGHIJKLMNOPQRSTO";
        // Both digits are below 10, so the casts cut nothing.
        text[4] += (cost / 10) as u8;
        text[5] += (cost % 10) as u8;
        Self { text, cost }
    }

    pub(crate) const fn cost(&self) -> u32 {
        self.cost
    }

    /// Whether the password fits. Computes for milliseconds to seconds: never on an async thread.
    pub(crate) fn matches_slow(&self, password: &[u8]) -> bool {
        // The text was parsed when this value was made; an error cannot happen, and would mean "no".
        std::str::from_utf8(&self.text).is_ok_and(|hash| bcrypt::verify(password, hash).unwrap_or(false))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRINTED: &str = "$2y$05$KbQy.oSLGCS.mm0SIkLtIOYu.G1Lcp8iyPMLfK/Id9AO7nJYmdLXa";

    #[test]
    fn what_is_a_usable_hash() {
        let with = |from: &str, to: &str| PRINTED.replacen(from, to, 1);
        for good in [with("$2y$", "$2a$"), with("$2y$", "$2b$"), with("$05$", "$16$")] {
            assert!(StoredHash::parse(good.as_bytes()).is_ok(), "{good}");
        }
        for (bad, problem) in [
            (String::new(), HashProblem::Missing),
            ("password123".into(), HashProblem::NotBcrypt),
            ("{SHA}W6ph5Mm5Pz8GgiULbPgzG37mj9g=".into(), HashProblem::NotBcrypt),
            ("$apr1$lZL6V/ci$eIMz/iKDkbtys/uU7LEK00".into(), HashProblem::NotBcrypt),
            (with("$2y$", "$2x$"), HashProblem::NotBcrypt),
            (with("$05$", "$+5$"), HashProblem::NotBcrypt),
            (with("K", "!"), HashProblem::NotBcrypt),
            (format!("{PRINTED} "), HashProblem::NotBcrypt),
            (with("b", "é").chars().take(59).collect(), HashProblem::NotBcrypt),
            (with("$05$", "$17$"), HashProblem::Cost(17)),
            (with("$05$", "$31$"), HashProblem::Cost(31)),
            (with("$05$", "$03$"), HashProblem::Cost(3)),
        ] {
            assert_eq!(StoredHash::parse(bad.as_bytes()).err(), Some(problem), "{bad}");
        }
    }

    #[test]
    fn bits_of_the_salt_that_do_not_count_are_ignored() {
        // 'O' and 'P' differ only in the four lowest bits.
        let sloppy = PRINTED.replacen("IkLtIO", "IkLtIP", 1);
        assert!(StoredHash::parse(sloppy.as_bytes()).unwrap().matches_slow(b"password123"));
    }

    #[test]
    fn decoys_have_the_cost_asked_for() {
        for cost in [4, 5, 10, 16] {
            let decoy = StoredHash::decoy(cost);
            assert_eq!(StoredHash::parse(&decoy.text).unwrap().cost(), cost);
        }
        assert!(!StoredHash::decoy(4).matches_slow(b""));
    }

    #[test]
    fn passwords_count_up_to_72_bytes() {
        let text = bcrypt::hash([b'x'; 72], 4).unwrap();
        let hash = StoredHash::parse(text.as_bytes()).unwrap();
        assert!(hash.matches_slow(&[b'x'; 72]));
        assert!(hash.matches_slow(&[b'x'; 500]), "like Go, cut when comparing");
        assert!(!hash.matches_slow(&[b'x'; 71]));
    }
}
