//! Rust text with comments and literals blanked out, so that a rule about code does not trip over words.
//!
//! Lines and columns stay where they are. A full parser would cost a dependency and a second of building for rules that look at
//! identifiers only.

/// `source` with every comment, string and character literal replaced by spaces.
pub fn blank_words(source: &str) -> String {
    let mut lexer = Lexer {
        rest: source,
        out: String::with_capacity(source.len()),
    };
    while let Some(first) = lexer.rest.chars().next() {
        lexer.step(first);
    }
    lexer.out
}

struct Lexer<'a> {
    rest: &'a str,
    out: String,
}

impl Lexer<'_> {
    fn step(&mut self, first: char) {
        if self.rest.starts_with("//") {
            let end = self.rest.find('\n').unwrap_or(self.rest.len());
            self.blank(end);
        } else if self.rest.starts_with("/*") {
            self.blank(block_comment(self.rest));
        } else if let Some(length) = raw_string(self.rest).filter(|_| !self.in_identifier()) {
            self.blank(length);
        } else if first == '"' {
            self.blank(string(self.rest));
        } else if first == '\'' {
            match character(self.rest) {
                Some(length) => self.blank(length),
                None => self.keep(first),
            }
        } else {
            self.keep(first);
        }
    }

    fn keep(&mut self, c: char) {
        self.out.push(c);
        self.rest = &self.rest[c.len_utf8()..];
    }

    fn blank(&mut self, length: usize) {
        let (gone, rest) = self.rest.split_at(length);
        self.out
            .extend(gone.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        self.rest = rest;
    }

    fn in_identifier(&self) -> bool {
        self.out.chars().next_back().is_some_and(is_identifier)
    }
}

fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        if rest.starts_with(b"/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with(b"*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += 1;
        }
    }
    text.len()
}

/// Length of a raw string (also `br`, `cr`) that begins here.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = text.len() - text.trim_start_matches(['b', 'c']).len();
    let after_r = text[prefix.min(1)..].strip_prefix('r')?;
    let hashes = after_r.len() - after_r.trim_start_matches('#').len();
    after_r[hashes..].strip_prefix('"')?;
    let open = prefix.min(1) + 1 + hashes + 1;
    let close = format!("\"{}", "#".repeat(hashes));
    let end = text[open..].find(&close).map(|at| open + at + close.len());
    Some(end.unwrap_or(text.len()))
}

fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Length of a character literal; `None` for a lifetime.
fn character(text: &str) -> Option<usize> {
    let mut chars = text.char_indices().skip(1);
    let (_, first) = chars.next()?;
    if first == '\\' {
        chars.next()?;
        return chars.find(|(_, c)| *c == '\'').map(|(at, _)| at + 1);
    }
    chars
        .next()
        .filter(|(_, c)| *c == '\'')
        .map(|(at, _)| at + 1)
}

pub fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The identifiers of a line of blanked code.
pub fn identifiers(line: &str) -> impl Iterator<Item = &str> {
    line.split(|c| !is_identifier(c))
        .filter(|word| !word.is_empty())
}

/// The words an identifier is made of, in lower case: `OrderPlaced` and `order_placed` are both order, placed.
pub fn words(identifier: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut after_lower = false;
    let mut start = true;
    for c in identifier.chars() {
        if c == '_' {
            start = true;
            continue;
        }
        if start || (c.is_uppercase() && after_lower) {
            words.push(String::new());
            start = false;
        }
        after_lower = c.is_lowercase() || c.is_numeric();
        if let Some(word) = words.last_mut() {
            word.extend(c.to_lowercase());
        }
    }
    words
}

/// The line ranges (from 0, end excluded) of items under `#[cfg(test)]`, and the names of modules so marked that lie in files of their own.
pub fn test_items(blanked: &str) -> (Vec<std::ops::Range<usize>>, Vec<String>) {
    const MARK: &str = "#[cfg(test)]";
    let line_of = |at: usize| blanked[..at].matches('\n').count();
    let (mut ranges, mut modules) = (Vec::new(), Vec::new());
    let mut from = 0;
    while let Some(found) = blanked[from..].find(MARK) {
        let mark = from + found;
        from = mark + MARK.len();
        let rest = &blanked[from..];
        let Some(opening) = rest.find(['{', ';']) else {
            break;
        };
        let length = if rest[opening..].starts_with('{') {
            opening + braces(&rest[opening..])
        } else {
            let mut names = identifiers(&rest[..opening])
                .skip_while(|word| *word != "mod")
                .skip(1);
            modules.extend(names.next().map(str::to_owned));
            opening + 1
        };
        ranges.push(line_of(mark)..line_of(from + length) + 1);
        from += length;
    }
    (ranges, modules)
}

/// Length of the block that begins with the brace at the start of `text`.
fn braces(text: &str) -> usize {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 1 => return at + 1,
            '}' => depth -= 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn comments_and_literals_vanish_and_code_stays_in_place() {
        let source = "let a = \"order \\\" x\"; // order\nlet b: &'static str = r#\"order \" x\"#; /* order /* nested */ order */ let c = '\"'; let d = b'\\''; end();";
        let blanked = blank_words(source);
        assert_eq!(blanked.len(), source.len());
        assert!(!blanked.contains("order"), "{blanked}");
        for kept in ["let a", "let b: &'static str", "let c", "let d", "end();"] {
            assert_eq!(blanked.find(kept), source.find(kept), "{kept} in {blanked}");
        }
    }

    #[test]
    fn identifiers_fall_into_words_in_either_case() {
        assert_eq!(words("OrderPlacedV2"), ["order", "placed", "v2"]);
        assert_eq!(words("MAX_ORDER_age"), ["max", "order", "age"]);
        assert_eq!(words("Ordering"), ["ordering"]);
    }

    #[test]
    fn a_test_module_spans_its_braces_and_a_module_file_is_named() {
        let blanked = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() { {} }\n}\nfn c() {}\n#[cfg(test)]\nmod far;\n";
        let (ranges, modules) = test_items(blanked);
        assert_eq!(ranges, [1..5, 6..8]);
        assert_eq!(modules, ["far"]);
    }
}
