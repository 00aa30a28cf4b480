//! What is in a code, for people.

use crate::{
    Field, Partners,
    explain::{Form, Table},
};

/// Every field as far as the bytes go, whatever they say.
pub(super) fn fields(payload: &[u8], partners: &Partners) -> Vec<Field> {
    let mut table = Table::of(payload);
    let prefix = partners.by_alipay(payload).map_or(0, |(prefix, _)| prefix.len());
    if prefix > 0 {
        table.take("partner's prefix", prefix, Form::Hex);
    }
    table.take("version", 1, Form::Hex);
    table.take("algorithm of the issuer key", 1, Form::Number);
    table.take("key id", 1, Form::Number);
    table.take("body length", 1, Form::Number);
    table.take("user id", 16, Form::HiddenText);
    table.take("authorization ends", 4, Form::Time);
    table.take("validity, s", 2, Form::Number);
    table.take("limit per trip, fen", 2, Form::Number);
    table.take("identity info", 4, Form::Unshown);
    table.take("code issuer", 4, Form::Hex);
    table.take("reserved", 4, Form::Hex);
    table.take("user public key", 25, Form::Unshown);
    table.take("card type", 8, Form::Text);
    let card_number = table.count("length of card number");
    table.take("card number", card_number, Form::HiddenText);
    let card_data = table.count("length of card data");
    table.take("card data", card_data, Form::Unshown);
    let issuer_signature = table.count("length of issuer signature");
    table.take("issuer signature", issuer_signature, Form::Unshown);
    let time = table.count("length of generation time");
    table.take("generated at", time, if time == 4 { Form::Time } else { Form::Unshown });
    let user_signature = table.count("length of user signature");
    table.take("user signature", user_signature, Form::Unshown);
    table.end()
}
