# The blocks of C++ in a document, one after the other, as a program: includes and namespaces first,
# the rest in main(). Lines keep their numbers, so that compilers name those of the document.
FNR == 1 {
  print "#include <kroton/kroton.h>"
  print "#include <fstream>"
  print "#include <iostream>"
  print "namespace kt = kroton;"
}
/^```cpp$/ { inside = 1; next }
/^```$/ { inside = 0; next }
!inside { next }
/^#include / || /^namespace [a-z]+ = / { if (!($0 in seen)) print; seen[$0] = 1; next }
{ body[++count] = $0; line[count] = FNR }
END {
  print "int main() {"
  for (k = 1; k <= count; ++k) {
    if (k == 1 || line[k] != line[k - 1] + 1) print "#line " line[k] " \"" FILENAME "\""
    print body[k]
  }
  print "}"
}
