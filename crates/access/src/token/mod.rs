//! Tokens that we issue ourselves, for the Docker token flow.

mod authority;
mod claims;
mod jwt;
mod keys;

pub use authority::{
    ACCESS_LIFE_DEFAULT, IssueError, Issued, LEEWAY_DEFAULT, REFRESH_LIFE_DEFAULT, TokenAuthority, TokenSettings,
};
pub use claims::{TokenError, TokenKind};
pub use jwt::TOKEN_BYTES_MAX;
pub use keys::{Keys, SECRET_BYTES_MIN, WeakSecret};

#[cfg(test)]
mod tests;
