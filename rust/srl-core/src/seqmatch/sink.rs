//! Where blocks go as they are found.

use super::Block;

/// Takes blocks in order.
pub(crate) trait Sink {
    fn put(&mut self, block: Block);

    /// Takes `block` where `is_one`; costs no branch where the block's place is of no interest.
    #[inline]
    fn put_if(&mut self, is_one: bool, block: impl FnOnce() -> Block) {
        if is_one {
            self.put(block());
        }
    }
}

impl Sink for Vec<Block> {
    #[inline]
    fn put(&mut self, block: Block) {
        self.push(block);
    }
}

/// How many elements the blocks hold together.
#[derive(Debug, Default)]
pub(crate) struct Count(pub(crate) usize);

impl Sink for Count {
    #[inline]
    fn put(&mut self, block: Block) {
        self.0 += block.len;
    }

    /// Only for blocks of one element.
    #[inline]
    fn put_if(&mut self, is_one: bool, _: impl FnOnce() -> Block) {
        self.0 += usize::from(is_one);
    }
}
