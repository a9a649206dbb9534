"""What must be set before torch is imported: without it tests with tiny tensors take five times as long on a busy machine."""

from trivium.core.world import prepare_environment

prepare_environment()
