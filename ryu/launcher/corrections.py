"""placeholder"""


def apply():
    pass
