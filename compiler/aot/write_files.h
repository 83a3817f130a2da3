// Files that appear whole or not at all.
#pragma once
#include <string>
#include <utility>
#include <vector>

namespace kroton::aot {

// Writes the files (path and contents) under other names beside them and renames them when all are
// written. IoError, naming the file and the system's reason, when that fails; nothing new is left
// then. A directory that does not exist is made, its parents are not.
void write_files(const std::string& directory,
                 const std::vector<std::pair<std::string, std::string>>& files);

}  // namespace kroton::aot
