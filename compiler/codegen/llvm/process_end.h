// The compiler at the end of the process.
#pragma once
#include "compiler/base/default_float_environment.h"

namespace kroton::codegen {

// What uses LLVM does so during the life of one of these. LLVM's tables are destroyed when the
// process exits, whatever other threads do: exit waits for the uses in progress. A use that begins
// after that on the thread that exits, in a static destructor for example, is a ValueError; on
// another thread it waits for the process to be gone.
class CompilerUse {
 public:
  CompilerUse();
  ~CompilerUse();
  CompilerUse(const CompilerUse&) = delete;
  CompilerUse& operator=(const CompilerUse&) = delete;

  // To be made on a helper of the thread that uses LLVM: it counts as that one, whose use outlives
  // it.
  class Helper {
   public:
    explicit Helper(int uses_of_its_master);
    ~Helper();
    Helper(const Helper&) = delete;
    Helper& operator=(const Helper&) = delete;
  };
  // How many uses are in progress on this thread: what its helpers are made with.
  static int count();

  // Makes exit wait before it destroys the tables that exist so far.
  static void guard_tables();

 private:
  DefaultFloatEnvironment rounding_;
};

}  // namespace kroton::codegen
