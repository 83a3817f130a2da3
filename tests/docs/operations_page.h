// docs/operations.md: what the public headers say of each operation and what the records of the
// ops know of it. `bash tests/run --update-golden` writes it anew.
#pragma once
#include <string>

std::string operations_page();
