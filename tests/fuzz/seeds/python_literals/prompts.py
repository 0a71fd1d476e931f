N = {"k": ["v", r"w"]}
role = "r"
def f():
  x = f"{N['k'][0]}: {{}}" + "\u201c" \
    '''a
 b'''
  y = {"role": "s", "content": [1, -2.5, None, ("a", "b")]}
end
