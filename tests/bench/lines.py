"""How many lines of code a training is, of ours and of the peers': the function that makes it and
what that uses of the same file, without blank lines, comments and what documents. Reading the data
is left out where it is a function of its own: all have readers, which the peers share here."""
import pathlib
import re

HERE = pathlib.Path(__file__).resolve().parent
FILES = {"ours": "training.cpp", "jax": "peers/jax_training.py",
         "torch": "peers/torch_training.py", "tensorflow": "peers/keras_training.py"}
READERS = ("digits", "folder")


def definitions(text):
    """Name to text of what begins at the left margin after a blank line, in either language."""
    found = {}
    for part in re.split(r"\n\n+(?=\S)", re.sub(r'"""(?s:.*?)"""', "", text)):
        name = (re.search(r"^(?:struct|class|def) (\w+)", part, re.MULTILINE)
                or re.search(r"^[\w:][\w:<> ]* (\w+)\(", part, re.MULTILINE))
        if name:
            found[name[1]] = part
    return found


def is_code(line):
    return line.strip() and not line.strip().startswith(("//", "#", "}  // namespace"))


def count(contender, training):
    text = (HERE / FILES[contender]).read_text()
    parts = definitions(text)
    # What the list of trainings at the end says: "gpt": gpt, or if (name == "gpt") return gpt(...).
    used = [re.search(rf'"{training}"\W+(?:return )?(\w+)', text)[1]]
    if used[0] not in parts:
        return None
    for name in used:  # grows
        used += [word for word in dict.fromkeys(re.findall(r"\w+", parts[name]))
                 if word in parts and word not in used and word not in READERS]
    return sum(1 for name in used for line in parts[name].splitlines() if is_code(line))
