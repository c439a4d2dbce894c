-- The table is named after what a row holds: the block of messages that one command appended.
-- Programs that know the old name must stop: this file does not say that they may go on.

ALTER TABLE turns RENAME TO message_blocks;

ALTER INDEX turns_pkey RENAME TO message_blocks_pkey;
