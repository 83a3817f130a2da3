# The blocks of C++ in a document, one after the other, as a program in the file `output`: includes
# and namespaces first, the rest in main(). Lines keep their numbers, so that compilers name those
# of the document.
function head(line) {
  if (!(line in seen)) print line >output
  seen[line] = 1
}
BEGIN {
  head("#include <kroton/kroton.h>")
  head("#include <fstream>")
  head("#include <iostream>")
  head("namespace kt = kroton;")
}
/^```cpp$/ { inside = 1; next }
/^```$/ { inside = 0; next }
!inside { next }
/^#include / || /^namespace [a-z]+ = / { head($0); next }
{ body[++count] = $0; line[count] = FNR }
END {
  print "int main() {" >output
  for (k = 1; k <= count; ++k) {
    if (k == 1 || line[k] != line[k - 1] + 1) print "#line " line[k] " \"" FILENAME "\"" >output
    print body[k] >output
  }
  print "}" >output
}
