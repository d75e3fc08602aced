//! Passwords: how they are stored, checked, remembered and made.

mod make;
mod stored;
mod verifier;

pub use make::{COST_DEFAULT, PasswordError, hash_password};
pub(crate) use stored::StoredHash;
pub use stored::{COST_MAX, COST_MIN, PASSWORD_BYTES_MAX};
pub(crate) use verifier::{Checked, Question};
pub use verifier::{PasswordLimits, Passwords};
